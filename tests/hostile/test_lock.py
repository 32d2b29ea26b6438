"""The lock files are those of requirements.txt."""

import re

import pytest

from src.paths import ROOT

LOCKS = ("requirements/all.lock", "requirements/cpu.lock")


def pins(text: str) -> dict[str, str]:
    """Package -> version, of lines `name==version`."""
    found = re.findall(r"^([A-Za-z0-9_.-]+)==([^ ;\\\n]+)", text, re.MULTILINE)
    return {re.sub("[-_.]+", "-", name).lower(): version.partition("+")[0] for name, version in found}


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_holds_what_requirements_txt_pins_each_with_hashes(name: str) -> None:
    text = (ROOT / name).read_text()
    wanted, locked = pins((ROOT / "requirements.txt").read_text()), pins(text)
    assert {package: locked.get(package) for package in wanted} == wanted, "run make lock"
    entries = re.split(r"\n(?=\S)", "\n".join(line for line in text.splitlines() if not line.startswith("#")))
    assert all(re.search(r"--hash=sha256:[0-9a-f]{64}", entry) for entry in entries)
    assert "://" not in re.sub(r"^#.*$", "", text, flags=re.MULTILINE)  # files come from the index, not from pages of their own
