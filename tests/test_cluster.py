"""Folds on a Ray cluster of two nodes, both on this machine: make slow, with the extra `cluster` installed."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from faults import LEARNERS, TinyRun, free_port, processes_of, wait_for

from src.runs.launch import Launcher, run_all

pytestmark = pytest.mark.slow
BIN = Path(sys.executable).parent
ENV = {**os.environ, "OMP_NUM_THREADS": "1", "RAY_DISABLE_USAGE_STATS": "1"}


@pytest.fixture(scope="module")
def ray_cluster() -> Iterator[str]:
    pytest.importorskip("ray", reason="ray is an optional extra: pip install -e .[cluster]")
    port = free_port()
    small = ["--num-cpus", "1", "--num-gpus", "1", "--object-store-memory", "100000000", "--disable-usage-stats"]
    for where in (["--head", "--port", str(port), "--include-dashboard", "false"], ["--address", f"127.0.0.1:{port}"]):
        subprocess.run([BIN / "ray", "start", *where, *small], check=True, env=ENV, stdout=subprocess.DEVNULL)
    yield f"127.0.0.1:{port}"
    subprocess.run([BIN / "ray", "stop", "--force"], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@pytest.fixture
def cluster(ray_cluster: str) -> list[str]:
    """The options that send folds to the cluster."""
    return ["--launcher", "ray", "--address", ray_cluster, "--jobs", "2"]


def workers(cluster: list[str]) -> list[int]:
    """Return the process ids of the cluster's workers, and of no other cluster's on this machine."""
    port = cluster[3].split(":")[1]
    nodes = {process.pid for process in processes_of("raylet", f":{port}")}
    return [process.pid for process in processes_of("ray::_call") if process.parent in nodes]


@pytest.mark.parametrize("learner", LEARNERS)
def test_a_cluster_gives_the_numbers_of_this_process(task_folder: Path, tmp_path: Path, cluster: list[str], learner: str) -> None:
    here, there = (TinyRun(task_folder, learner, tmp_path / name) for name in ("here", "there"))
    for run, where in ((here, ["--jobs", "1"]), (there, cluster)):
        ended = run.complete(*where)
        assert ended.returncode == 0, ended.stdout
    assert there.results() == here.results()


def test_the_fold_of_a_killed_worker_is_run_again(task_folder: Path, tmp_path: Path, cluster: list[str]) -> None:
    here, there = (TinyRun(task_folder, "network", tmp_path / name, n_epochs=20) for name in ("here", "there"))
    assert here.train().returncode == 0
    run = there.start(*cluster)
    wait_for(lambda: list(there.run.glob("fold_*/history.csv")) or run.poll() is not None, seconds=300)
    assert run.poll() is None and not list(there.run.glob("fold_*/metrics.json"))
    os.kill(workers(cluster)[0], signal.SIGKILL)
    said, _ = run.communicate(timeout=600)
    assert run.returncode == 0, said
    assert there.results() == here.results()


def test_ray_gives_each_fold_a_gpu_where_one_is_asked_for(tmp_path: Path, ray_cluster: str) -> None:
    """The nodes say that they have one each; nothing runs on it."""

    def run(k: int) -> None:
        (tmp_path / f"{k}").write_text(os.environ.get("CUDA_VISIBLE_DEVICES", "all"))

    for gpu in (True, False):
        run_all("x", run, [int(gpu)], lambda k: (tmp_path / f"{k}").exists(), {}, Launcher("ray", 2, ray_cluster, gpu=gpu))
    assert (tmp_path / "1").read_text() == "0" and (tmp_path / "0").read_text() != "0"


def test_a_fold_that_fails_on_a_cluster_says_so_as_it_does_here(tmp_path: Path, ray_cluster: str) -> None:
    """Every other fold ends: only as many as --jobs run at once."""

    def run(k: int) -> str | None:
        if k == 2:
            raise ValueError("row 7 of the table")
        (tmp_path / f"{k}").write_text("")
        return "its loss is not finite" if k == 0 else None

    def run_folds(folds: list[int]) -> None:
        run_all("x", run, folds, lambda k: (tmp_path / f"{k}").exists() and k != 0, {}, Launcher("ray", 1, ray_cluster))

    with pytest.raises(FloatingPointError, match=r"^fold 0: its loss is not finite$"):
        run_folds([0, 1, 3])
    assert (tmp_path / "3").exists()
    with pytest.raises(ValueError, match=r"^row 7 of the table$"):
        run_folds([2])


def test_a_cluster_that_does_not_answer_is_named(task_folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    run = TinyRun(task_folder, "lightgbm", tmp_path / "outputs")
    said = run.complete("--launcher", "ray", "--address", f"127.0.0.1:{free_port()}")
    assert said.returncode == 1 and "answers there" in said.stdout and "Traceback" not in said.stdout
    said = run.complete("--launcher", "ray")
    assert "needs the --address of a running cluster" in said.stdout
