"""The report is one page that needs nothing beside itself."""

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
from conftest import CRYSTALS

from exp import report
from src.config import BlendConfig, ExperimentConfig, FoldConfig, GbdtConfig
from src.data.load import TaskData
from src.features.geometry import SYSTEMS
from src.report.audit import describe, space_group_number
from src.report.page import html_table, page
from src.report.sections import worst_section
from src.results.predictions import Predictions
from src.runs.experiment import run_experiment
from src.runs.launch import Launcher

FOLDS = FoldConfig(n_folds=4)
GBDT = ExperimentConfig(learner=GbdtConfig(features=("fractions",), n_trees=20, min_child_samples=2), folds=FOLDS)
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
    for name, config in (
        ("exp001", GBDT),
        ("exp003", replace(GBDT, seed=5)),
        ("exp040", ExperimentConfig(learner=BlendConfig(("001", "003")), folds=FOLDS)),
    ):
        run_experiment(config, name, data, None, Launcher(n_jobs=1), "cpu")
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
