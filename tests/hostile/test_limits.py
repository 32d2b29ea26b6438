"""Limits of memory and time, and the messages at these limits."""

import hashlib
import json
import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
from cifs import cif, grid_of_atoms, place_cif
from place import NETWORK, TREES, Place, bounded, make_place
from pymatgen.core import Lattice, Structure

from src.config import GraphConfig
from src.data.crystal import Crystal
from src.features import elements
from src.graphs.graph import build_graph
from src.storage.ragged import RaggedStore


@pytest.fixture
def fresh(tmp_path: Path) -> Place:
    return make_place(tmp_path)


def test_a_crystal_with_too_many_edges_is_named_and_takes_no_memory(fresh: Place) -> None:
    place_cif(fresh, cif(grid_of_atoms(5), a=1.5))  # 125 atoms, 0.3 Angstrom apart
    message = r"crystal 'x-3': about 8.3e\+05 edges within r_max 3.5 Angstrom.*correct the cell"
    with bounded(), pytest.raises(SystemExit, match=message):
        fresh.train(NETWORK)


def test_too_many_angles_and_too_large_a_box_are_refused() -> None:
    rng = np.random.default_rng(0)
    dense = Crystal(np.eye(3) * 4, rng.random((100, 3)), np.full(100, 6))
    with bounded(), pytest.raises(ValueError, match=r"pairs of bonds within r_angle 5 Angstrom.*smaller r_angle"):
        build_graph(dense, GraphConfig(r_angle=5.0))
    wide = Crystal(np.eye(3) * 900, np.zeros((1, 3)), np.array([6]))
    with bounded(), pytest.raises(ValueError, match="too large for a neighbour search"):
        build_graph(wide, GraphConfig(r_max=0.5))


def test_a_large_supercell_of_high_symmetry_takes_seconds() -> None:
    """It has 49,152 operations; its graph is built without symmetry, which is as exact."""
    logging.getLogger("moyo").setLevel(logging.ERROR)
    iron = Structure.from_spacegroup("Im-3m", Lattice.cubic(2.87), ["Fe"], [[0, 0, 0]]) * (8, 8, 8)
    with bounded():
        graph = build_graph(Crystal.from_structure(iron), GraphConfig(r_max=2.6))
    assert len(graph.orbit_z) == 1024 and len(graph.edge_src_index) == 8 * 1024


def test_the_first_row_of_a_duplicated_id_stays_when_the_second_is_left_out(fresh: Place) -> None:
    fresh.edit_rows("train", lambda rows: (rows[3].update(id="x-0"), rows[5].update(cif="broken")))
    fresh.train(TREES, "--skip-bad-rows")
    metrics = json.loads((fresh.run() / "metrics.json").read_text())
    assert metrics["rows_left_out"] == ["x-0", "x-5"]
    assert len((fresh.run() / "oof.csv").read_text().splitlines()) == 11


def test_a_pickle_is_announced_once_with_its_sha256(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "pretrained_embeddings"
    path.write_bytes(b"no model")
    with caplog.at_level(logging.DEBUG):
        for _ in range(2):
            with pytest.raises(ValueError, match="pretrained_embeddings: gensim cannot read it"):
                elements.mat2vec(path)
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1 and "use only files that you trust" in warnings[0]
    assert hashlib.sha256(b"no model").hexdigest() in warnings[0]


def test_a_store_is_opened_without_being_read_unless_it_was_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from src.storage import ragged

    RaggedStore.from_items({"x": "row"}, [{"x": np.arange(1000)}]).save(tmp_path / "store")
    read = []
    seal = ragged._seal
    monkeypatch.setattr(ragged, "_seal", lambda path: read.append(path.name) or seal(path))
    RaggedStore.open(tmp_path / "store")
    assert read == []
    shutil.copytree(tmp_path / "store", tmp_path / "copy", copy_function=shutil.copyfile)
    RaggedStore.open(tmp_path / "copy")
    assert sorted(read) == ["row.offsets.npy", "x.npy"]
