"""README and docs/ agree with the repository."""

import re
import tomllib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from src.paths import ROOT
from src.results.marked import MARKED, marked_pages, updated_pages

PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "exp" / "README.md", ROOT / "input" / "README.md"])

FIGURE = re.compile(
    r"(?<![\w.])(?:\d+(?:[.,]\d+)+(?:%|x\b)?|(?!9[05]%)\d+%|\d+ ?(?:x|times)\b|\d+ (?:CPU )?(?:s|ms|min|GB|MB|seconds|minutes)\b)"
)
NO_FIGURES = re.compile(
    r"^```(?s:.*?)^```|`[^`\n]*`|\]\([^)\s]*\)|https?://\S+|Python 3\.\d+|^.*\b(?:doi:|arXiv:).*$|^#.*$", re.MULTILINE
)


def fenced_and_inline_code(text: str) -> str:
    """Return the code of a Markdown text, blocks first, one after another."""
    return "\n".join(re.findall(r"^```.*?\n(.*?)^```", text, re.MULTILINE | re.DOTALL) + re.findall(r"`([^`\n]+)`", text))


def anchors(text: str) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in re.findall(r"^#+ (.+)$", text, re.MULTILINE)}


def test_the_readme_has_at_most_150_lines() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


def offenders(check: Callable[[Path, str], Iterable[str]], pages: Iterable[Path] = PAGES) -> dict[str, list[str]]:
    """Return what a check finds wrong, by page. check: takes a page and its text."""
    texts = {page: page.read_text(encoding="utf-8") for page in pages}
    found = {str(page.relative_to(ROOT)): sorted(check(page, text)) for page, text in texts.items()}
    return {name: wrong for name, wrong in found.items() if wrong}


def dead_links(page: Path, text: str) -> Iterator[str]:
    links = re.findall(r"\]\(([^)\s]+)\)", text)
    for target, _, anchor in (link.partition("#") for link in links if "://" not in link):
        path = (page.parent / target) if target else page
        if not path.exists() or (anchor and anchor not in anchors(path.read_text(encoding="utf-8"))):
            yield f"{target}#{anchor}"


def test_every_figure_of_readme_and_docs_is_what_the_command_writes() -> None:
    stale = [str(path.relative_to(ROOT)) for path, text in updated_pages().items() if text != path.read_text(encoding="utf-8")]
    assert stale == [], "run: python exp/ledger.py"


def figures_outside(text: str) -> list[str]:
    """Return the figures of a page that stand outside markers, code, links and citations.

    Figures are decimals, percentages, ratios, seconds and sizes; a setting such as ten folds or 5 Å is none.
    """
    return FIGURE.findall(NO_FIGURES.sub("", MARKED.sub("", text)))


def test_figures_outside_markers_are_found_but_not_settings_code_links_and_citations() -> None:
    assert figures_outside("an MAE of 0.0648, 12% less in 409 CPU s or 1,868, 6.8x and 3 times") == [
        *("0.0648", "12%", "409 CPU s", "1,868", "6.8x", "3 times")
    ]
    kept = (
        "ten folds, exp094, 5 Å, `lr=0.03`, 90% intervals, [a page](x-0.1.md)\n\nPhys. Rev. 1.5, doi:10.1038/s41467-022-29939-5"
    )
    assert figures_outside(f"{kept}\n\n```\n12.5 s\n```\n\nan <!-- oof 094 -->0.0648<!-- / -->\n") == []


def test_no_figure_of_readme_and_docs_stands_outside_markers() -> None:
    found = {path.name: figures_outside(path.read_text(encoding="utf-8")) for path in marked_pages()}
    assert {name: figures for name, figures in found.items() if figures} == {}


def test_docs_without_the_log_keep_their_budget_of_words() -> None:
    words = {path.name: len(path.read_text(encoding="utf-8").split()) for path in ROOT.glob("docs/*.md")}
    assert sum(words.values()) <= 9_330 and words["results.md"] <= 1_400


def test_every_relative_link_leads_somewhere() -> None:
    assert offenders(dead_links) == {}


def missing_files(page: Path, text: str) -> list[str]:
    code = fenced_and_inline_code(text)
    scripts = set(re.findall(r"\bpython ((?:\w+/)*\w+\.py)", code))
    files = set(re.findall(r"\b(?:src|exp|tests|bench|input|docs|requirements)/[\w/]+\.(?:py|md|toml|lock)\b", code))
    promised = {"exp/exp099/config.py", "exp/exp099/train.py"}  # the example of an experiment that is still to be made
    return [name for name in (scripts | files) - promised if not (ROOT / name).is_file()]


def test_every_command_and_source_file_that_a_page_names_exists() -> None:
    assert offenders(missing_files) == {}


def test_every_target_of_make_and_every_extra_that_a_page_names_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    extras = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])
    named = lambda _, text: set(re.findall(r"^make ([a-z]+)", fenced_and_inline_code(text), re.MULTILINE)) - targets
    assert offenders(named) == {}
    assert offenders(lambda _, text: set(re.findall(r'"\.\[(\w+)\]"', text)) - extras) == {}


def test_a_page_opens_with_the_question_that_it_answers() -> None:
    first = lambda _, text: [line for line in text.splitlines()[:1] if not (line.startswith("# ") and line.endswith("?"))]
    assert offenders(first, ROOT.glob("docs/*.md")) == {}


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
