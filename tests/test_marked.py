"""Figures in README and docs: each is written by a command, from published results or from docs/figures.toml."""

from pathlib import Path

import pytest

from src.results import marked

PAGE = Path("docs/page.md")
ROWS = {
    ("094",): {"task": "flla", "in_90": "0.896", "oof": "0.06482", "test": "0.0509", "cpu_seconds": "1409.2", "lower_bound": ""},
    ("066",): {"task": "flla", "in_90": "0.962", "oof": "0.0673", "test": "0.0525", "cpu_seconds": "838", "lower_bound": "yes"},
    ("043", "formation_energy_ev_natom"): {"task": "nomad2018", "test": "0.0189"},
    ("042", "bandgap_energy_ev"): {"task": "nomad2018", "test": "0.0797"},
}
TABLES = {
    "tables": {"best": {"text": "\n| one | {oof 094} |\n", "measured": "One core."}},
    "figures": {"fold": {"value": "15 s"}},
}


@pytest.fixture(autouse=True)
def _published(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(marked, "_rows", lambda: ROWS)
    monkeypatch.setattr(marked, "_data", lambda: TABLES)


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("oof 094", "0.0648"),
        ("cpu 094", "1,409"),
        ("cpu 066", "≥ 838"),
        ("gain 094 066", "4%"),
        ("contest 043 042", "0.0493"),
        ("coverage flla", "90 to 96%"),
        ("mev 043 042", "10.2 meV per cation and 84.2 meV"),  # of the published metrics
        ("fold 026/inner-026-022-weights 1-4", "21.07"),
        ("measured fold", "15 s"),
    ],
)
def test_what_stands_between_markers_is_written_from_its_key(key: str, expected: str) -> None:
    text = f"It has <!-- {key} -->9.9<!-- / --> now."
    assert marked.updated(text, PAGE) == f"It has <!-- {key} -->{expected}<!-- / --> now."


def test_a_table_is_a_block_of_its_own_and_says_how_it_was_measured() -> None:
    text = "Before.\n\n<!-- table best -->\n<!-- / -->\n\nAfter.\n"
    new = "Before.\n\n<!-- table best -->\n\n| one | 0.0648 |\n\nOne core.\n\n<!-- / -->\n\nAfter.\n"
    assert marked.updated(text, PAGE) == new == marked.updated(new, PAGE)


@pytest.mark.parametrize("key", ["oof 999", "median 094", "table worst"])
def test_an_unknown_key_is_named_with_its_page(key: str) -> None:
    with pytest.raises(ValueError, match=f"docs/page.md: nothing is known of <!-- {key} -->"):
        marked.updated(f"It has <!-- {key} -->9.9<!-- / -->.", PAGE)


def test_a_figure_that_begins_a_line_is_refused_for_markdown_would_show_the_line_as_it_is() -> None:
    with pytest.raises(ValueError, match="begins a line"):
        marked.updated("It has\n<!-- oof 094 -->0.1<!-- / --> eV.", PAGE)
