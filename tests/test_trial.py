"""A messy competition, as a newcomer meets it: every command that is printed as the next one is run as it is printed."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from faults import wait_for

from src.data.rows import read_rows
from src.paths import DEFAULT_TASK, ROOT

N_TRAIN, N_TEST, N_AGAIN = 150, 45, 5
BAD_TRAIN, BAD_TEST = (3, 77, 120), N_TRAIN + 7
REWRITTEN = ("clock.json", "record.json")
LEFT_BEHIND = shutil.ignore_patterns(".git", ".venv", "outputs", "__pycache__", ".*_cache", "tests")
TOO_FULL = """data_x
_cell_length_a 4
_cell_length_b 4
_cell_length_c 4
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
a Fe 0 0 0 0.5
b Ni 0 0 0 0.7
"""


@pytest.fixture
def contest(tmp_path: Path) -> Path:
    """Tables of 200 rows: ids with leading zeros, files in a folder, gaps, bad structures, duplicates, two targets."""
    folder, rng = tmp_path / "contest", np.random.default_rng(0)
    (folder / "structures").mkdir(parents=True)
    rows = pd.DataFrame(read_rows(DEFAULT_TASK / "train.csv.gz"))[["cif", "formation_energy_per_atom"]]
    rows = rows.sample(N_TRAIN + N_TEST, random_state=0).reset_index(drop=True)
    for number, text in zip((*BAD_TRAIN, BAD_TEST), ("", "data_x", TOO_FULL, TOO_FULL), strict=True):
        rows.loc[number, "cif"] = text
    rows = pd.concat([rows[4 : 4 + N_AGAIN], rows], ignore_index=True)
    names = [f"{i:05d}" for i in range(len(rows))]
    for name, text in zip(names, rows["cif"], strict=True):
        (folder / "structures" / f"{name}.cif").write_text(text)
    energy = rows["formation_energy_per_atom"].astype(float)
    table = pd.DataFrame(
        {
            "sample": names,
            "temperature": np.where(rng.random(len(rows)) < 0.2, np.nan, rng.normal(300, 20, len(rows)).round(1)),
            "laboratory": rng.choice(["Kyoto", "Jena", ""], len(rows)),
            "file": [f"{name}.cif" for name in names],
            "energy": energy,
            "strength": (np.exp(-energy) * rng.uniform(0.9, 1.1, len(rows))).round(4),
        }
    )
    test = table[-N_TEST:]
    table[:-N_TEST].to_csv(folder / "train.csv", index=False)
    test.drop(columns=["energy", "strength"]).to_csv(folder / "test.csv", index=False)
    test[["strength", "sample", "energy"]].assign(strength=0, energy=0).to_csv(folder / "sample_submission.csv", index=False)
    return folder


@pytest.mark.slow
def test_a_messy_competition_goes_from_its_tables_over_a_kill_to_a_submission_and_a_page(contest: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(ROOT, copy, ignore=LEFT_BEHIND)

    def run(command: str) -> str:
        found = subprocess.run([sys.executable, *shlex.split(command)[1:]], cwd=copy, capture_output=True, text=True)
        assert found.returncode == 0, f"{command}\n{found.stdout}\n{found.stderr[-3000:]}"
        return found.stdout

    tables = " ".join(
        f"--{option} {contest / name}.csv"
        for option, name in {"train": "train", "test": "test", "sample": "sample_submission"}.items()
    )
    said = run(f"python input/new_task.py mine {tables} --metric mae")
    assert "file: structure (file)" in said and "4 of 200 rows are bad" in said
    check, auto = re.findall(r"^  (python exp/.*)$", said, re.MULTILINE)
    assert 'FoldConfig("grouped")' in run(check)
    outputs, auto = copy / "outputs" / "mine", auto.replace("--minutes 60", "--minutes 5")
    started = subprocess.Popen([sys.executable, *shlex.split(auto)[1:]], cwd=copy, start_new_session=True)
    wait_for(lambda: list(outputs.glob("*/exp*/fold_0/metrics.json")), 300)
    os.killpg(started.pid, signal.SIGKILL)
    done = {path: path.stat().st_mtime_ns for path in outputs.glob("*/*/**/*.json") if path.name not in REWRITTEN}
    used = json.loads((outputs / "auto" / "clock.json").read_text())["used"]
    assert "minutes" in run(auto)
    assert {path: path.stat().st_mtime_ns for path in done} == done and len(done) > 3  # trials and folds that had ended
    assert json.loads((outputs / "auto" / "clock.json").read_text())["used"] > used
    sample, submission = (
        pd.read_csv(path, dtype={"sample": str}) for path in (contest / "sample_submission.csv", outputs / "submission.csv")
    )
    assert list(submission) == list(sample) and list(submission["sample"]) == list(sample["sample"])
    assert np.isfinite(submission[["energy", "strength"]]).all(axis=None) and (submission["strength"] >= 0).all()
    remarks = pd.read_csv(outputs / "submission_with_uncertainty.csv")["remark"].dropna()
    assert len(remarks) == 1 and "median" in remarks.iloc[0]  # a structure that cannot be read, and no formula beside it
    assert (outputs / "auto.html").stat().st_size < 5e6
    run("python exp/compare.py --data input/mine")
    run("python exp/report.py --data input/mine --skip-bad-rows")
