"""README and docs/ agree with the repository."""

import re
import tomllib
from pathlib import Path

import pytest

from src.paths import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "exp" / "README.md", ROOT / "input" / "README.md"])
page = pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))


def fenced_and_inline_code(text: str) -> str:
    """Return the code of a Markdown text, blocks first, one after another."""
    return "\n".join(re.findall(r"^```.*?\n(.*?)^```", text, re.MULTILINE | re.DOTALL) + re.findall(r"`([^`\n]+)`", text))


def anchors(text: str) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in re.findall(r"^#+ (.+)$", text, re.MULTILINE)}


def test_the_readme_has_at_most_150_lines() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


@page
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))
    for target, _, anchor in (link.partition("#") for link in links if "://" not in link):
        path = (page.parent / target) if target else page
        assert path.exists(), target
        assert not anchor or anchor in anchors(path.read_text(encoding="utf-8")), f"{target}#{anchor}"


@page
def test_every_command_and_source_file_that_a_page_names_exists(page: Path) -> None:
    code = fenced_and_inline_code(page.read_text(encoding="utf-8"))
    scripts = set(re.findall(r"\bpython ((?:\w+/)*\w+\.py)", code))
    files = set(re.findall(r"\b(?:src|exp|tests|input|docs|requirements)/[\w/]+\.(?:py|md|toml|lock)\b", code))
    promised = {"exp/exp099/config.py", "exp/exp099/train.py"}  # the example of an experiment that is still to be made
    assert [name for name in sorted((scripts | files) - promised) if not (ROOT / name).is_file()] == []


@page
def test_every_target_of_make_that_a_page_names_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"^make ([a-z]+)", fenced_and_inline_code(page.read_text(encoding="utf-8")), re.MULTILINE))
    assert named <= targets


@page
def test_every_extra_that_a_page_names_exists(page: Path) -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(re.findall(r'"\.\[(\w+)\]"', page.read_text(encoding="utf-8"))) <= set(extras)


@pytest.mark.parametrize("page", sorted(ROOT.glob("docs/*.md")), ids=lambda path: path.name)
def test_a_page_opens_with_the_question_that_it_answers(page: Path) -> None:
    first = page.read_text(encoding="utf-8").splitlines()[0]
    assert first.startswith("# ") and first.endswith("?")


def test_the_readme_names_every_page_and_every_package_of_the_source() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    packages = [path.parent.relative_to(ROOT) for path in ROOT.glob("src/*/__init__.py")]
    names = [*(f"{path}/" for path in packages), *(f"(docs/{path.name})" for path in ROOT.glob("docs/*.md"))]
    assert [name for name in names if name not in readme] == []


def test_versions_named_in_several_files_agree() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text()
    assert f"\n## [{version}]" in (ROOT / "CHANGELOG.md").read_text()
    (ruff,) = re.findall(r"^ruff==(.+)$", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    assert f"rev: v{ruff}\n" in (ROOT / ".pre-commit-config.yaml").read_text()
