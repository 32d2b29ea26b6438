"""The lock files and the ranges of pyproject.toml agree with requirements.txt."""

import re
import tomllib

import pytest

from src.paths import ROOT

LOCKS = ("requirements/all.lock", "requirements/cpu.lock")


def pins(text: str) -> dict[str, str]:
    """Return the version of each package in lines `name==version`."""
    found = re.findall(r"^([A-Za-z0-9_.-]+)==([^ ;\\\n]+)", text, re.MULTILINE)
    return {re.sub("[-_.]+", "-", name).lower(): version.partition("+")[0] for name, version in found}


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_file_has_every_pin_of_requirements_txt_with_hashes(name: str) -> None:
    text = (ROOT / name).read_text()
    wanted, locked = pins((ROOT / "requirements.txt").read_text()), pins(text)
    assert {package: locked.get(package) for package in wanted} == wanted, "run make lock"
    entries = re.split(r"\n(?=\S)", "\n".join(line for line in text.splitlines() if not line.startswith("#")))
    assert all(re.search(r"--hash=sha256:[0-9a-f]{64}", entry) for entry in entries)
    assert "://" not in re.sub(r"^#.*$", "", text, flags=re.MULTILINE)  # files come from the index, not from other pages


def test_an_installation_asks_for_what_is_needed_at_run_time_from_the_tested_versions_on() -> None:
    """Ranges, so that it fits into an environment that has other things; no tools of the tests."""
    lines = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert all(re.fullmatch(r"[\w-]+>=[\d.]+(,<\d+)?", line) for line in lines)
    run_time = (ROOT / "requirements.txt").read_text().partition("# checks")[0]
    assert pins("\n".join(line.partition(",")[0].replace(">=", "==") for line in lines)) == pins(run_time)
