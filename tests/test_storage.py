"""Laws of src/storage."""

import ast
import logging
import os
import re
import shutil
import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from faults import ENV, processes_of_group, wait_for

from src.storage import cache
from src.storage.cache import cache_key, cached, file_key, import_closure, in_chunks, module_file
from src.storage.files import locked, read_id_table, remedy, write_atomic
from src.storage.ragged import RaggedStore

BUILDERS = (  # of all caches
    *("src.data.table", "src.graphs.dataset", "src.features.groups", "src.features.similarity"),
    *("src.features.sevennet", "src.storage.ragged"),
)
N_CACHES = 5  # crystals, graphs, groups of features, potentials, training sets


def read_whole(path: Path) -> str:
    text = path.read_text()
    if text == "damaged":
        raise ValueError(f"{path} is damaged; remove it, and it will be rebuilt")
    return text


def keep_copy_of_src(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let keys be made from a copy of `src` in the folder."""
    shutil.copytree(cache.ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(cache, "ROOT", folder)


def test_everything_that_shapes_a_content_is_in_its_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep_copy_of_src(tmp_path, monkeypatch)
    keys = [cache_key("d", {"a": 1}, "src.paths"), cache_key("e", {"a": 1}, "src.paths"), cache_key("d", {"a": 2}, "src.paths")]
    keys.append(cache_key("d", {"a": 1}, "src.paths", "src.storage.names"))
    (tmp_path / "src" / "paths.py").write_text("import numpy")
    cache._imported_names.cache_clear()
    keys.append(cache_key("d", {"a": 1}, "src.paths"))
    monkeypatch.setattr(cache, "installed_version", lambda name: "0.0")
    keys.append(cache_key("d", {"a": 1}, "src.paths"))
    assert len(set(keys)) == len(keys)
    assert cache_key("d", {"a": 1}, "src.paths") == keys[-1]


def imported(module: str) -> set[str]:
    """Return the modules of `src` that a module imports, in functions too, by its whole syntax tree and Python's own rules."""
    found = set()
    for node in ast.walk(ast.parse(module_file(module).read_text())):
        if isinstance(node, ast.ImportFrom) and node.module.startswith("src."):
            is_package = find_spec(node.module).submodule_search_locations
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                if is_package and not find_spec_or_none(name):
                    name = f"{getattr(import_module(node.module), alias.name).__module__}.{alias.name}"
                found.add(name if find_spec_or_none(name) else name.rpartition(".")[0])
    return found


def find_spec_or_none(name: str) -> object:
    try:
        return find_spec(name)
    except ModuleNotFoundError:  # its parent is no package
        return None


@pytest.mark.parametrize("builder", BUILDERS)
def test_a_change_in_any_module_that_a_builder_imports_changes_its_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, builder: str
) -> None:
    modules, left = set(), {builder}
    while left:
        modules |= left
        left = set().union(*map(imported, left)) - modules
    keep_copy_of_src(tmp_path, monkeypatch)
    key = cache_key("data", None, builder)
    for module in sorted(modules):
        source = module_file(module).read_bytes()
        module_file(module).write_bytes(source + b"\nCHANGED = True\n")
        assert cache_key("data", None, builder) != key, f"a change of {module} leaves the key as it is"
        module_file(module).write_bytes(source)
    assert cache_key("data", None, builder) == key
    assert {name.split(".")[1] for name in modules} <= {"paths", "config", "storage", "data", "features", "graphs"}


def test_every_cache_names_the_modules_that_fill_it() -> None:
    """A new cache belongs into BUILDERS above."""
    sources = [path.read_text() for path in cache.ROOT.glob("src/**/*.py")]
    assert sum(len(re.findall(r"(?<!def )\bcache_key\(", source)) for source in sources) == N_CACHES


def test_libraries_are_known_by_the_names_that_they_are_installed_by() -> None:
    _, libraries = import_closure(*BUILDERS)
    missing = {name for name in libraries if cache.installed_version(name) is None}
    assert missing <= {"sevenn", "torch_geometric"}, "an import and its package differ in name: see DISTRIBUTIONS"
    assert {"numpy", "pymatgen-core", "moyopy", "ase", "matminer", "torch"} <= set(libraries)


def test_side_files_are_part_of_a_users_file_and_others_are_not(tmp_path: Path) -> None:
    path = tmp_path / "model"
    path.write_text("model")
    alone = file_key(path)
    (tmp_path / "another").write_text("of another name")
    assert file_key(path) == alone
    (tmp_path / "model.vectors.npy").write_text("1")
    first = file_key(path)
    (tmp_path / "model.vectors.npy").write_text("2")
    assert len({alone, first, file_key(path)}) == 3


def test_a_cache_is_built_once_and_rebuilt_with_a_warning_if_it_is_damaged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, built = tmp_path / "cache" / "file", []
    build = lambda: built.append(path.write_text("whole"))
    assert [cached(path, read_whole, build) for _ in range(2)] == ["whole"] * 2 and len(built) == 1
    path.write_text("damaged")
    with caplog.at_level(logging.WARNING):
        assert cached(path, read_whole, build) == "whole" and len(built) == 2
    assert [r.getMessage() for r in caplog.records] == [f"{path} is damaged; remove it, and it will be rebuilt; doing so now"]


def test_what_another_process_has_rebuilt_meanwhile_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("damaged")

    def read(path: Path) -> str:
        try:
            return read_whole(path)
        finally:
            path.write_text("rebuilt elsewhere")

    assert cached(path, read, lambda: pytest.fail("built again")) == "rebuilt elsewhere"


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_chunks_come_in_order_whoever_computes_them(n_jobs: int) -> None:
    assert list(in_chunks(sum, iter(range(10)), 10, 4, "bar", n_jobs, worth_workers=1)) == [6, 22, 17]


def test_few_items_are_computed_here_without_a_bar(capsys: pytest.CaptureFixture) -> None:
    here = in_chunks(lambda chunk: os.getpid(), range(9), 9, 5, "bar", 2, worth_workers=10)
    assert list(here) == [os.getpid()] * 2 and capsys.readouterr().err == ""
    elsewhere = in_chunks(lambda chunk: os.getpid(), range(9), 9, 5, "bar", 2, worth_workers=9)
    assert os.getpid() not in list(elsewhere) and "bar: 100%" in capsys.readouterr().err


def test_workers_that_compute_chunks_end_with_their_parent(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from src.storage.cache import in_chunks\n"
        "wait = lambda chunk: (Path(sys.argv[1]).touch(), time.sleep(600))\n"
        "list(in_chunks(wait, range(2), 2, 1, 'bar', 2, worth_workers=1))"
    )
    run = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "started")], env=ENV, start_new_session=True)
    wait_for((tmp_path / "started").exists)
    run.kill()
    run.wait()
    wait_for(lambda: not processes_of_group(run.pid), seconds=10)


def test_a_file_is_replaced_and_never_written_into(tmp_path: Path) -> None:
    """Whoever has the old file open keeps it whole."""
    path, still_open = tmp_path / "file", tmp_path / "link"
    write_atomic(path, b"old")
    os.link(path, still_open)
    write_atomic(path, b"new")
    assert (path.read_bytes(), still_open.read_bytes()) == (b"new", b"old")


def test_a_store_with_a_changed_byte_is_refused(tmp_path: Path) -> None:
    RaggedStore.from_items({"x": "row"}, [{"x": np.arange(10)}]).save(tmp_path / "store")
    path = tmp_path / "store" / "x.npy"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(ValueError, match=r"x.npy was changed or cut off"):
        RaggedStore.open(tmp_path / "store")


def test_the_fold_to_train_again_is_that_of_the_run_and_no_official_one(tmp_path: Path) -> None:
    run = tmp_path / "official" / "fold_3" / "exp001"
    run.mkdir(parents=True)
    (run / "config.json").touch()
    assert remedy(run / "oof.csv") == "remove it, and train.py will write it again"
    assert remedy(run / "fold_0" / "others" / "member_1" / "x").startswith(f"remove the folder {run / 'fold_0'}, and train.py")


def test_a_table_of_results_has_every_id_once(tmp_path: Path) -> None:
    path = tmp_path / "oof.csv"
    pd.DataFrame({"id": ["a", "b", "a"], "e_form_pred": [1.0, 2.0, 3.0]}).to_csv(path, index=False)
    with pytest.raises(ValueError, match=r"oof.csv: 'a' is duplicated; remove it, and train"):
        read_id_table(path, ["id", "e_form_pred"])


def test_a_lock_is_held_once_and_its_holder_is_named(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    with locked(path, "busy"), pytest.raises(ValueError, match=rf"^busy \(process {os.getpid()} on "), locked(path, "busy"):
        pytest.fail("two hold it")
    with locked(path, "busy"):  # free again
        pass
