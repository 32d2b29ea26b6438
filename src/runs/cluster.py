"""Folds as tasks of a running Ray cluster. All nodes must see this folder under the same path."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from socket import create_connection
from typing import Any

from src.paths import ROOT

MAX_RETRIES = 3  # of a fold whose worker or node was lost; it resumes from its checkpoint
TIMEOUT = 30  # seconds, to connect


def check(address: str | None) -> None:
    """Raise ValueError if Ray is not installed or no address is given."""
    if address is None:
        raise ValueError("--launcher ray needs the --address of a running cluster: 10.0.0.1:6379, or auto on one of its nodes")
    if find_spec("ray") is None:
        raise ValueError('ray is not installed: pip install -e ".[cluster]", here and on all nodes')


def lost_worker_error() -> type[Exception]:
    """Return the exception that signals the loss of a worker or of its node."""
    from ray.exceptions import RayError

    return RayError


def run(
    function: Callable[[Any, int], Any], job: Any, folds: Sequence[int], address: str, n_jobs: int | None, gpu: bool = False
) -> list:
    """Return function(job, k) for every fold, run in workers of the cluster; `job` is sent to each node once.

    n_jobs: folds at once; None: as many as the cluster has room for. gpu: each fold takes a GPU of the cluster.
    Raises what a fold raises, and RayError if its workers are lost again and again.
    """
    import ray

    with _connected(address):
        train = ray.remote(max_retries=MAX_RETRIES, num_gpus=int(gpu))(function)
        stored, found, fold_of = ray.put(job), dict[int, Any](), dict[Any, int]()
        waiting = list(folds)
        while waiting or fold_of:
            while waiting and len(fold_of) < (n_jobs or len(folds)):
                k = waiting.pop(0)
                fold_of[train.remote(stored, k)] = k
            (done, *_), _ = ray.wait(list(fold_of))  # in this thread: none is left waiting when Ray shuts down
            try:
                found[fold_of.pop(done)] = ray.get(done)
            except ray.exceptions.RayTaskError as error:
                raise error.cause from None  # the fold's own error, without Ray's account of it
    return [found[k] for k in folds]


@contextmanager
def _connected(address: str) -> Iterator[None]:
    """Keep a connection to the cluster while the block runs."""
    import ray

    try:
        host, _, port = address.removeprefix("ray://").rpartition(":")
        if port.isdigit():  # ray.init would keep trying for minutes
            create_connection((host, int(port)), timeout=TIMEOUT).close()
        ray.init(address, runtime_env={"env_vars": {"PYTHONPATH": str(ROOT)}}, log_to_driver=False, logging_level=logging.ERROR)
    except OSError as error:
        raise ValueError(f"--address {address}: no Ray cluster answers there (ray start --head starts one)") from error
    try:
        yield
    finally:
        ray.shutdown()
