"""The report is one page that needs nothing beside itself; its checks of tables find what was put there."""

import json
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import CRYSTALS, GBDT, run, small_table
from pymatgen.core import Lattice, Structure

from exp import check_data, report
from src.config import BlendConfig
from src.data.crystal import Crystal
from src.data.export import write_task
from src.data.load import TaskData
from src.data.table import Crystals, CrystalTable
from src.features.geometry import SYSTEMS
from src.report.audit import adversarial_auc, describe, duplicate_groups, missing_elements, space_group_number, target_by_fold
from src.report.page import html_table, page
from src.report.sections import worst_section
from src.results.predictions import Predictions

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


class Tags(HTMLParser):
    """Fails where a tag is closed that is not open; collects headings, sources and links."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.outside: list[str] = []
        self.headings: list[str] = []

    def handle_starttag(self, tag: str, attrs: list) -> None:
        if tag not in ("meta", "img"):
            self.open.append(tag)
        self.outside += [
            value for name, value in attrs if name in ("src", "href") and not value.startswith("data:image/png;base64,")
        ]

    def handle_startendtag(self, tag: str, attrs: list) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "h2":
            self.headings.append(data)


def test_the_report_stands_alone(data: TaskData, outputs: Path, where: list[str], request: pytest.FixtureRequest) -> None:
    run(data)
    run(data, replace(GBDT, seed=5), "exp003")
    run(data, replace(GBDT, learner=BlendConfig(("001", "003"))), "exp040")
    report.main(["001", "003", "040", *where])
    html = (outputs / "small" / "report.html").read_text(encoding="utf-8")
    assert len(html.encode()) < 5e6
    tags = Tags()
    tags.feed(html)
    assert tags.open == [] and tags.outside == []
    assert "@import" not in html and "url(" not in html
    assert len(tags.headings) == 9
    assert html.count("data:image/png") == 8
    assert "test MAE" not in html and "≥" not in html
    assert "<td>LightGBM on composition alone: how far do chemical formulas go?</td><td>closed</td>" in html
    request.getfixturevalue("undrawn")
    metrics = outputs / "small" / "exp003" / "metrics.json"
    metrics.write_text(json.dumps(json.loads(metrics.read_text()) | {"resumed_folds": [1]}))
    report.main(["001", "003", *where])
    assert (outputs / "small" / "report.html").read_text(encoding="utf-8").count("≥") == 1
    report.main(["040", *where])  # an ensemble alone
    assert "nothing to blend" in (outputs / "small" / "report.html").read_text(encoding="utf-8")


def in_browser(html: str, folder: Path) -> str:
    """The page after its scripts have run, 1080 pixels wide but for the margins."""
    path = folder / "page.html"
    path.write_text(html, encoding="utf-8")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--window-size=1112,900", f"--user-data-dir={folder}"]
    command = [str(CHROMIUM), *options, "--dump-dom", path.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
def test_the_worst_crystals_of_many_experiments_fit_the_page(data: TaskData, tmp_path: Path) -> None:
    oof = pd.DataFrame({"id": data.train.ids, "e_form": data.train.targets, "e_form_pred": data.train.targets - 10})
    members = [Predictions(f"exp{i:03d}", Path(), oof, oof, {}) for i in range(30)]
    _, table = worst_section(data, describe(data.train), members, np.arange(len(oof), dtype=float))
    measure = "const d = document.querySelector('.wide'); document.title = d.scrollWidth <= d.clientWidth;"
    html = page("Fit", [("Worst", table.replace("cubic", "rhombohedral"))])
    shown = in_browser(html.replace("</body>", f"<script>{measure}</script></body>"), tmp_path)
    assert "<title>true</title>" in shown


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
def test_a_click_on_a_header_sorts_by_number_and_a_second_one_turns_it_round(tmp_path: Path) -> None:
    rows = [{"name": name, "value": value} for name, value in zip("abcd", ("10 ± 3", "≥ 9", "-2", ""), strict=True)]
    html = page("Sorting", [("Table", html_table(rows))])
    for clicks, order in ((1, "cbad"), (2, "dabc")):
        click = "document.querySelectorAll('th')[1].click();" * clicks
        shown = in_browser(html.replace("</body>", f"<script>{click}</script></body>"), tmp_path)
        assert "".join(re.findall(r"<td>([abcd])</td>", shown)) == order


def test_texts_of_a_table_are_escaped() -> None:
    assert "&lt;b&gt;" in html_table([{"x": "a<b>"}])


def test_space_groups_are_the_known_ones() -> None:
    known = {"diamond": 227, "rock salt": 225, "bcc iron": 229, "rutile": 136, "wurtzite": 186, "perovskite": 221, "triclinic": 1}
    assert {name: space_group_number(CRYSTALS[name]) for name in known} == known


def test_crystals_are_described_by_name(data: TaskData) -> None:
    table = describe(data.train)
    assert list(table["id"]) == list(data.train.ids)
    assert set(table["crystal_system"]) <= set(SYSTEMS)
    assert (table["n_elements"] == 2).all() and (table["n_atoms"] == 2).all()


def table_of(crystals: list[Crystal], prefix: str) -> CrystalTable:
    ids = np.array([f"{prefix}-{i}" for i in range(len(crystals))])
    return CrystalTable(ids, Crystals.from_list(crystals), np.zeros(len(ids)))


def rock_salt(a: float, anion: int = 17) -> Crystal:
    """NaCl, or another anion by its atomic number; a: Angstrom."""
    known = CRYSTALS["rock salt"]
    numbers = np.where(known.atomic_numbers == 17, anion, known.atomic_numbers)
    return Crystal(known.lattice * a / 5.64, known.frac_coords, numbers)


def test_a_supercell_of_a_training_crystal_in_the_test_table_is_found() -> None:
    supercell = Crystal.from_structure(CRYSTALS["rock salt"].to_structure() * (1, 1, 2))
    train = table_of([CRYSTALS["rutile"], CRYSTALS["rock salt"], CRYSTALS["quartz"]], "train")
    (group,) = duplicate_groups(train, table_of([CRYSTALS["diamond"], supercell], "test"))
    assert set(group["id"]) == {"train-1", "test-1"}
    assert list(group["formula"]) == ["NaCl", "NaCl"]


def test_other_structures_of_a_formula_and_other_formulas_of_a_structure_are_no_duplicates() -> None:
    caesium_chloride = Crystal.from_structure(Structure(Lattice.cubic(3.5), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]))
    assert duplicate_groups(table_of([rock_salt(5.6)], "train"), table_of([caesium_chloride, rock_salt(5.6, 35)], "test")) == []


def test_crystals_of_one_formula_and_one_space_group_are_duplicates_only_if_they_match() -> None:
    known = CRYSTALS["triclinic"]
    moved = Crystal(known.lattice, np.random.default_rng(5).random((known.n_atoms, 3)), known.atomic_numbers)
    assert duplicate_groups(table_of([known], "train"), table_of([moved], "test")) == []
    (group,) = duplicate_groups(table_of([known, moved], "train"), table_of([known], "test"))
    assert set(group["id"]) == {"train-0", "test-0"}


def random_crystals(n: int, a: float, seed: int) -> list[Crystal]:
    rng = np.random.default_rng(seed)
    return [rock_salt(a + rng.random(), int(rng.choice([9, 17, 35, 53]))) for _ in range(n)]


def test_tables_drawn_alike_cannot_be_told_apart_and_larger_cells_can() -> None:
    train = table_of(random_crystals(150, 5.0, 0), "train")
    alike, _ = adversarial_auc(train, table_of(random_crystals(100, 5.0, 1), "test"))
    shifted, telling = adversarial_auc(train, table_of(random_crystals(100, 5.8, 2), "test"))
    assert alike.mean() < 0.65 < 0.8 < shifted.mean()
    assert "volume per atom" in telling or "shortest lattice vector" in telling


def test_an_element_that_only_test_crystals_have_is_named() -> None:
    train, test = table_of([rock_salt(5.6)], "train"), table_of([rock_salt(5.6, 35)], "test")
    assert missing_elements(train.crystals.element_counts, test.crystals.element_counts) == ["Br"]


def test_the_target_is_described_fold_by_fold() -> None:
    found = target_by_fold(np.array([1.0, 3.0, 10.0]), np.array([0, 0, 1]))
    assert list(found["count"]) == [2, 1] and list(found["mean"]) == [2, 10]


def test_the_command_names_a_crystal_that_is_in_both_tables(
    task_folder: Path, where: list[str], capsys: pytest.CaptureFixture
) -> None:
    rows = small_table(46)
    twin = rows[:1].assign(id="twin")
    write_task(task_folder, rows[:40], pd.concat([rows[40:], twin]))
    check_data.main(where)
    shown = capsys.readouterr().out
    assert "x-0 (train)" in shown and "twin (test)" in shown
    assert "AUC" in shown
