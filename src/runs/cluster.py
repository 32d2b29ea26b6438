"""Folds on a running Ray cluster, through joblib's backend. All nodes must see this folder under the same path."""

import logging
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from socket import create_connection
from typing import Any

from joblib import Parallel, delayed, parallel_config

from src.paths import ROOT

Function = Callable[[Any, int], Any]
TIMEOUT = 30  # seconds, to connect


def lost_worker_error() -> type[Exception]:
    """Return the exception that signals the loss of a worker or of its node."""
    from ray.exceptions import RayError

    return RayError


def check(address: str | None, n_jobs: int | None) -> None:
    """Raise ValueError if Ray is not installed, no address is given, or nothing would run on the cluster."""
    if n_jobs == 1:
        raise ValueError("--launcher ray --jobs 1: joblib runs a single job in this process; take at least 2")
    if address is None:
        raise ValueError("--launcher ray needs the --address of a running cluster: 10.0.0.1:6379, or auto on one of its nodes")
    if find_spec("ray") is None:
        raise ValueError('ray is not installed: pip install -e ".[cluster]", here and on all nodes')


def run(function: Function, job: Any, folds: Sequence[int], address: str, n_jobs: int | None, gpu: bool = False) -> list:
    """Return function(job, k) for every fold, run in workers of the cluster; `job` is sent to each of them once.

    n_jobs: folds at once; None: as many as the cluster has cores. gpu: each fold gets a GPU.
    """
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
        with parallel_config(backend="ray", n_jobs=n_jobs or -1, ray_remote_args={"num_gpus": int(gpu)}):
            return Parallel()(delayed(_from_ray)(function, [stored], k) for k in folds)
    finally:
        ray.shutdown()


def _from_ray(function: Function, stored: list, k: int) -> Any:
    import ray

    return function(ray.get(stored[0]), k)
