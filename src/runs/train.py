"""Command line of every exp/expNNN/train.py."""

import argparse
import logging
from pathlib import Path
from typing import Literal, get_args

from src.command import command, one_message, task_options
from src.config import ExperimentConfig
from src.config.catalogue import load_config
from src.data.load import load_task_data
from src.data.task import Task, read_tasks
from src.learners.device import check_device, count_gpus
from src.results.folder import RunDir
from src.results.metrics import METRICS
from src.runs.experiment import check_structures, run_experiment
from src.runs.launch import Launcher, Where, check_cluster

log = logging.getLogger(__name__)
Tracker = Literal["tensorboard", "mlflow"]


def main(folder: Path, argv: list[str] | None = None) -> None:
    """Train the experiment of a folder exp/expNNN."""
    args = _parse(folder, argv)
    with one_message(folder.name):
        n_gpus = count_gpus(args.device) if args.launcher == "local" else None
        launcher = Launcher(args.launcher, args.jobs, args.address, args.device.startswith("cuda"), n_gpus)
        config = load_config(folder)
        check(config, args)
        for task in read_tasks(args.data, args.target):
            several = len(task.targets) > 1
            with one_message(f"{folder.name}, target {task.target_column}" if several else folder.name):
                train_target(config, folder.name, task, launcher, args)


def train_target(config: ExperimentConfig, name: str, task: Task, launcher: Launcher, args: argparse.Namespace) -> None:
    """Train an experiment on one target of a task."""
    start_log(task.runs(args.outputs) / name)
    data = load_task_data(args.data, args.outputs, args.skip_bad_rows, launcher.n_local, task.target_column)
    metrics = run_experiment(config, name, data, args.folds, launcher, args.device)
    if args.tracker:
        from src.runs.tracker import track_run

        store = args.outputs / "tracker" / args.tracker / (task.label if len(task.targets) > 1 else "")
        track_run(args.tracker, config, RunDir(data.folder / name), metrics, store)
    if metrics:
        own = "" if task.metric in ("mae", "rmse") else f"{METRICS[task.metric].text} {metrics[f'oof_{task.metric}']:.4f}, "
        log.info(
            "%s%s: OOF %sMAE %.4f +- %.4f (sd over folds), RMSE %.4f %s; %d parameters; %.0f CPU seconds",
            name, f" on {task.label}" if len(task.targets) > 1 else "", own, metrics["oof_mae"],
            metrics["fold_mae_sd"], metrics["oof_rmse"], task.unit, metrics["n_parameters"], metrics["cpu_seconds"],
        )  # fmt: skip


def _parse(folder: Path, argv: list[str] | None) -> argparse.Namespace:
    parser = command(f"Train {folder.name}: its config is {folder / 'config.py'}.", task_options())
    parser.add_argument("--folds", type=int, nargs="+", metavar="K", help="train these folds only (default: all)")
    parser.add_argument("--jobs", type=int, help="folds at once (default: as many as there are GPUs or, on CPUs, cores)")
    parser.add_argument("--launcher", choices=get_args(Where), default="local", help="where folds run (default: local)")
    parser.add_argument("--address", metavar="HOST:PORT", help="of the Ray cluster")
    parser.add_argument("--device", default="cpu", help="cpu, cuda (folds take the GPUs in turn), cuda:1, ... (default: cpu)")
    parser.add_argument("--skip-bad-rows", action="store_true", help="leave bad training rows out instead of stopping")
    parser.add_argument("--tracker", choices=get_args(Tracker), help="send finished folds to outputs/tracker/ as well")
    args = parser.parse_args(argv)
    if args.jobs is not None and args.jobs < 1:
        parser.error(f"--jobs {args.jobs}: at least 1")
    return args


def check(config: ExperimentConfig, args: argparse.Namespace) -> None:
    """Raise ValueError now, before anything is written, for whatever would fail later."""
    if args.launcher == "ray":
        check_cluster(args.address)
    else:
        check_device(args.device)
    check_structures(config, read_tasks(args.data, args.target)[0])
    if args.tracker:
        from src.runs.tracker import check_tracker

        check_tracker(args.tracker)


def start_log(run: Path) -> None:
    """Send the log to the screen and to log.txt of the run."""
    run.mkdir(parents=True, exist_ok=True)
    to_file = logging.FileHandler(run / "log.txt")
    to_file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    to_screen = logging.StreamHandler()
    to_screen.setFormatter(logging.Formatter("%(message)s"))
    to_screen.setLevel(logging.INFO)
    logging.raiseExceptions = False  # a full disk is reported once, not for every line of the log
    logging.basicConfig(level=logging.INFO, handlers=[to_file, to_screen], force=True)  # closes that of the target before
    logging.getLogger("src").setLevel(logging.DEBUG)  # tracebacks go to the file
