"""Laws that hold for inputs drawn by hypothesis, the same ones in every run."""

import gzip
import json
import string
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from cifs import GOOD
from conftest import CRYSTALS
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pymatgen.io.cif import CifWriter

from src.config import TargetConfig, from_dict
from src.data.crystal import N_ELEMENTS, Crystal
from src.data.rows import read_rows
from src.data.table import _flaws_of_id
from src.data.target import TargetNormalizer
from src.data.task import read_task
from src.storage.files import read_id_table, write_csv

FAST = settings(
    max_examples=100, deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
IDS = st.text(min_size=1, max_size=20).filter(lambda text: not _flaws_of_id(text, "id"))
REAL = [str(CifWriter(crystal.to_structure(), symprec=symprec)) for crystal in CRYSTALS.values() for symprec in (None, 1e-3)]


@settings(FAST, max_examples=30)
@given(st.lists(IDS, min_size=1, max_size=8, unique=True))
@example(["NaN", "nan", "NA", "None", "007", "7", '"', "a,b", "1e5", "1e+05", "\u00fc", "-inf"])
def test_ids_of_a_run_come_back_as_they_were_written(tmp_path: Path, ids: list[str]) -> None:
    numbers = np.random.default_rng(0).normal(size=len(ids))
    for name in ("table.csv", "table.csv.gz"):
        write_csv(tmp_path / name, pd.DataFrame({"id": ids, "e_form_pred": numbers}))
        back = read_id_table(tmp_path / name, ["id", "e_form_pred"])
        assert back["id"].tolist() == ids
        np.testing.assert_array_equal(back["e_form_pred"], numbers)
        assert [row["id"] for row in read_rows(tmp_path / name)] == ids


@FAST
@given(st.binary(max_size=300) | st.text(alphabet=',;"\n\r\t\0ab1', max_size=100).map(str.encode), st.booleans())
def test_any_bytes_are_rows_or_one_error_that_names_the_file(tmp_path: Path, content: bytes, compressed: bool) -> None:
    path = tmp_path / ("rows.csv.gz" if compressed else "rows.csv")
    path.write_bytes(gzip.compress(content) if compressed and len(content) % 2 else content)
    try:
        rows = list(read_rows(path))
    except ValueError as error:
        assert str(path) in str(error)
    else:
        assert rows and all(set(row) == set(rows[0]) for row in rows)


def crystal_or_reason(text: str) -> None:
    """Assert that a text gives a crystal, or a ValueError with a reason, within a second."""
    start = time.process_time()
    try:
        crystal = Crystal.from_cif(text)
    except ValueError as error:
        assert str(error)
    else:
        assert (
            np.isfinite(crystal.frac_coords).all()
            and 0 < crystal.atomic_numbers.min() <= crystal.atomic_numbers.max() < N_ELEMENTS
        )
    assert time.process_time() - start < 1


TOKENS = [*f"{GOOD} data_ loop_ _ # ; ? . nan -1 1e9 0.5(3) Xx D \u0662".split(), "'", '"', "\n", "\n;"]


@FAST
@given(st.text(max_size=200) | st.lists(st.sampled_from(TOKENS), max_size=60).map(" ".join))
def test_any_text_is_a_crystal_or_a_reason(text: str) -> None:
    crystal_or_reason(text)


@settings(FAST, max_examples=100)
@given(st.sampled_from(REAL), st.data())
def test_a_changed_cif_is_a_crystal_or_a_reason(cif: str, data: st.DataObject) -> None:
    """Lines are dropped, duplicated or swapped, tokens replaced, and lines cut in half."""
    lines = cif.splitlines()
    for _ in range(data.draw(st.integers(1, 3))):
        i, j = (data.draw(st.integers(0, len(lines) - 1)) for _ in range(2))
        how = data.draw(st.sampled_from(["drop", "double", "exchange", "token", "cut"]))
        if how == "drop" and len(lines) > 1:
            del lines[i]
        elif how == "double":
            lines.insert(j, lines[i])
        elif how == "exchange":
            lines[i], lines[j] = lines[j], lines[i]
        elif how == "token" and lines[i].split():
            words = lines[i].split()
            words[j % len(words)] = data.draw(st.sampled_from(TOKENS))
            lines[i] = "  ".join(words)
        else:
            lines[i] = lines[i][: len(lines[i]) // 2]
    crystal_or_reason("\n".join(lines))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["GbdtConfig", "FoldConfig", "x"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["type", "learner", "folds", "n_trees", "seed"]), inner, max_size=4)
    ),
    max_leaves=10,
)


@FAST
@given(JSON)
def test_anything_but_a_stored_config_is_a_value_error(data: object) -> None:
    try:
        from_dict(json.loads(json.dumps(data)))
    except ValueError as error:
        assert str(error).startswith("config: ")


QUOTED = st.text(alphabet=string.ascii_letters + string.digits + " ()/%-_\u00e5\u00df\u03b1\"'\\", min_size=1, max_size=30)


@FAST
@given(st.lists(QUOTED, min_size=3, max_size=3, unique=True), QUOTED, st.sampled_from(["mae", "rmse"]))
def test_a_task_comes_back_as_it_was_described(tmp_path: Path, columns: list[str], unit: str, metric: str) -> None:
    names = ("id_column", "structure_column", "target_column")
    described = dict(zip(names, columns, strict=True)) | {"unit": unit, "metric": metric}
    files = {"train": "train.csv", "test": "parts/test.csv", "sample_submission": "sample.csv"}
    lines = [f"{name} = {json.dumps(text)}" for name, text in described.items()]  # JSON's strings are TOML's
    lines += ["[files]", *(f"{name} = {json.dumps(text)}" for name, text in files.items())]
    (tmp_path / "task.toml").write_text("\n".join(lines), encoding="utf-8")
    task = read_task(tmp_path)
    assert {name: getattr(task, name) for name in described} == described and task.files == files


@FAST
@given(st.text(max_size=60), st.sampled_from(["../x", "/etc/passwd", "a/../../x", "\0", "~/x", ".", "..", ""]))
def test_no_file_of_a_task_lies_outside_its_folder(tmp_path: Path, text: str, bad: str) -> None:
    for name in (text, text + bad, bad + text):
        files = {"train": name, "test": "test.csv", "sample_submission": "sample.csv"}
        fields = 'id_column = "a"\nstructure_column = "b"\ntarget_column = "c"\nmetric = "mae"\nunit = "eV"\n[files]\n'
        (tmp_path / "task.toml").write_text(
            fields + "\n".join(f"{k} = {json.dumps(v)}" for k, v in files.items()), encoding="utf-8"
        )
        try:
            task = read_task(tmp_path)
        except ValueError as error:
            assert "task.toml" in str(error)
        else:
            assert (tmp_path / task.files["train"]).resolve().is_relative_to(tmp_path.resolve())


@FAST
@pytest.mark.parametrize("kind", ["residual", "standardise", "raw"])
@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.floats(1e-3, 1e3))
def test_the_target_comes_back_from_its_residual(kind: str, seed: int, n: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    counts = np.zeros((n, N_ELEMENTS), dtype=np.int64)
    np.add.at(counts, (np.repeat(np.arange(n), 3), rng.integers(1, N_ELEMENTS, 3 * n)), rng.integers(1, 9, 3 * n))
    target = scale * rng.normal(size=n)
    stored = TargetNormalizer.fit(counts, target, TargetConfig(kind)).to_json()
    normalizer = TargetNormalizer.from_json(json.loads(json.dumps(stored)))
    again = normalizer.denormalize(counts, normalizer.normalize(counts, target))
    np.testing.assert_allclose(again, target, atol=1e-9 * scale)
