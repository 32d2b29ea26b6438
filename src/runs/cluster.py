"""Folds on a running Ray or Dask cluster, through joblib's backends. All nodes must see this folder under the same path."""

import logging
import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from socket import create_connection, gethostname
from typing import Any, Literal

from joblib import Parallel, delayed, parallel_config

from src.paths import ROOT

Engine = Literal["ray", "dask"]
Function = Callable[[Any, int], Any]
TIMEOUT = 30  # seconds, to connect


def lost_worker_error(engine: Engine) -> type[Exception]:
    """Return the exception that signals the loss of a worker or of its node."""
    if engine == "ray":
        from ray.exceptions import RayError

        return RayError
    from distributed import KilledWorker  # Dask runs a task again by itself; this is raised once it gives up

    return KilledWorker


def check(engine: Engine, address: str | None, n_jobs: int | None) -> None:
    """Raise ValueError if the engine is not installed, no address is given, or nothing would run on the cluster."""
    if n_jobs == 1:
        raise ValueError(f"--launcher {engine} --jobs 1: joblib runs a single job in this process; take at least 2")
    if address is None:
        example = "10.0.0.1:6379, or auto on one of its nodes" if engine == "ray" else "10.0.0.1:8786"
        raise ValueError(f"--launcher {engine} needs the --address of a running cluster: {example}")
    if find_spec("ray" if engine == "ray" else "distributed") is None:
        raise ValueError(f'{engine} is not installed: pip install -e ".[cluster]", here and on all nodes')


def run(
    function: Function, job: Any, folds: Sequence[int], engine: Engine, address: str | None, n_jobs: int | None, gpu: bool = False
) -> list:
    """Return function(job, k) for every fold, run in workers of the cluster; `job` is sent to each of them once.

    n_jobs: folds at once; None: as many as the cluster has cores. gpu: Ray gives each fold a GPU; Dask's workers use the GPUs
    that they were started with.
    """
    if engine == "dask":
        return _on_dask(function, job, folds, str(address), n_jobs or -1)
    return _on_ray(function, job, folds, str(address), n_jobs or -1, gpu)


def _on_ray(function: Function, job: Any, folds: Sequence[int], address: str, n_jobs: int, gpu: bool) -> list:
    import ray
    from ray.util.joblib import register_ray

    try:
        host, _, port = address.removeprefix("ray://").rpartition(":")
        if port.isdigit():  # ray.init would keep trying for minutes
            create_connection((host, int(port)), timeout=TIMEOUT).close()
        ray.init(address, runtime_env={"env_vars": {"PYTHONPATH": str(ROOT)}}, log_to_driver=False, logging_level=logging.ERROR)
    except OSError as error:
        raise ValueError(f"--address {address}: no Ray cluster answers there (ray start --head starts one)") from error
    try:
        register_ray()
        stored = ray.put(job)
        with parallel_config(backend="ray", n_jobs=n_jobs, ray_remote_args={"num_gpus": int(gpu)}):
            return Parallel()(delayed(_from_ray)(function, [stored], k) for k in folds)
    finally:
        ray.shutdown()


def _from_ray(function: Function, stored: list, k: int) -> Any:
    import ray

    return function(ray.get(stored[0]), k)


def _on_dask(function: Function, job: Any, folds: Sequence[int], address: str, n_jobs: int) -> list:
    from distributed import Client

    try:
        client = Client(address, timeout=TIMEOUT)
    except OSError as error:
        raise ValueError(f"--address {address}: no Dask scheduler answers there (dask scheduler starts one)") from error
    with client:
        add_path, plugin = _import_path(str(ROOT))
        client.run_on_scheduler(add_path)  # it unpickles what is submitted; if it cannot, joblib waits forever
        client.register_plugin(plugin)
        with parallel_config(backend="dask", scatter=[job], n_jobs=n_jobs):
            return Parallel()(delayed(function)(job, k) for k in folds)


def _import_path(root: str) -> tuple[Callable[[], None], Any]:
    """Return a function that lets a process import this repository, and a plugin that calls it in every worker."""
    from distributed import WorkerPlugin

    def add_path() -> None:
        if not Path(root, "src").is_dir():
            raise FileNotFoundError(f"{root} is missing on {gethostname()}: all nodes must see this folder under the same path")
        sys.path.insert(0, root)

    class ImportPath(WorkerPlugin):
        def setup(self, worker: Any) -> None:
            add_path()

    return add_path, ImportPath()
