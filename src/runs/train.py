"""Command line of every exp/expNNN/train.py; finished folds are sent to a tracker if there is one."""

import argparse
import logging
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from src.command import command, one_message, rows_option, task_options
from src.config import ExperimentConfig, to_dict
from src.config.catalogue import load_config
from src.data.task import Task, read_tasks
from src.learners.device import check_device, count_gpus
from src.runs.launch import Launcher, Where, check_cluster
from src.storage import names

if TYPE_CHECKING:
    from src.results.folder import RunDir

log = logging.getLogger(__name__)
Tracker = Literal["tensorboard", "mlflow"]
Steps = Iterator[tuple[str, int, dict[str, float]]]


def main(folder: Path, argv: list[str] | None = None) -> None:
    """Train the experiment of a folder exp/expNNN."""
    about = f"Train {folder.name}: its config is {folder / 'config.py'}."
    parser = command(about, task_options(), rows_option(), launch_options())
    parser.add_argument("--folds", type=int, nargs="+", metavar="K", help="train these folds only (default: all)")
    parser.add_argument("--tracker", choices=get_args(Tracker), help="also send finished folds to outputs/tracker/")
    args = parser.parse_args(argv)
    with one_message(folder.name):
        launcher, config = launcher_of(args), load_config(folder)
        check(config, args)
        for task in read_tasks(args.data, args.target):
            several = len(task.targets) > 1
            with one_message(f"{folder.name}, target {task.target_column}" if several else folder.name):
                train_target(config, folder.name, task, launcher, args)


def train_target(config: ExperimentConfig, name: str, task: Task, launcher: Launcher, args: argparse.Namespace) -> None:
    """Train an experiment on one target of a task."""
    from src.data.load import load_task_data  # these import for seconds
    from src.results.folder import RunDir
    from src.results.metrics import METRICS, figures_of
    from src.runs.experiment import run_experiment

    start_log(task.runs(args.outputs) / name)
    data = load_task_data(args.data, args.outputs, args.skip_bad_rows, launcher.n_local, task.target_column)
    metrics = run_experiment(config, name, data, args.folds, launcher, args.device)
    if args.tracker:
        store = args.outputs / "tracker" / args.tracker / (task.label if len(task.targets) > 1 else "")
        track_run(args.tracker, config, RunDir(data.folder / name), metrics, store)
    if metrics:
        own = "" if task.metric in ("mae", "rmse") else f"{METRICS[task.metric].text} {metrics[f'oof_{task.metric}']:.4f}, "
        found = (
            f"{own}MAE {metrics['oof_mae']:.4f} +- {metrics['fold_mae_sd']:.4f} (sd over folds), RMSE {metrics['oof_rmse']:.4f}"
        )
        if task.of_classes:
            found = ", ".join(f"{METRICS[one].text} {metrics[f'oof_{one}']:.4f}" for one in figures_of(task.metric))
        log.info(
            "%s%s: OOF %s %s; %d parameters; %.0f CPU seconds", name, f" on {task.label}" if len(task.targets) > 1 else "",
            found, task.unit, metrics["n_parameters"], metrics["cpu_seconds"],
        )  # fmt: skip


def launch_options() -> argparse.ArgumentParser:
    """Return the options for where trainings run."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--jobs", type=_positive, help="folds at once (default: as many as there are GPUs or, on CPUs, cores)")
    parser.add_argument("--launcher", choices=get_args(Where), default="local", help="where folds run (default: local)")
    parser.add_argument("--address", metavar="HOST:PORT", help="address of the Ray cluster")
    parser.add_argument("--device", default="cpu", help="cpu, cuda (folds spread over the GPUs), cuda:1, ... (default: cpu)")
    return parser


def _positive(text: str) -> int:
    if (value := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"{value}: at least 1")
    return value


def launcher_of(args: argparse.Namespace) -> Launcher:
    """Return the launcher for these options. Raises ValueError if nothing can run there."""
    if args.launcher == "ray":
        check_cluster(args.address)
    else:
        check_device(args.device)
    n_gpus = count_gpus(args.device) if args.launcher == "local" else None
    return Launcher(args.launcher, args.jobs, args.address, args.device.startswith("cuda"), n_gpus)


def check(config: ExperimentConfig, args: argparse.Namespace) -> None:
    """Raise ValueError before anything is written, for anything that would fail later."""
    from src.runs.experiment import check_task  # see `train_target`

    check_task(config, read_tasks(args.data, args.target)[0])
    if args.tracker and find_spec(args.tracker) is None:
        raise ValueError(f'--tracker {args.tracker}: {args.tracker} is not installed; pip install -e ".[extra]"')


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


def track_run(tracker: str, config: ExperimentConfig, run: "RunDir", metrics: dict | None, folder: Path) -> None:
    """Send the histories of all finished folds of a run, under the name of the experiment.

    metrics: of the whole run; None if folds are missing. folder: the tracker's local store.
    """
    send = _to_tensorboard if tracker == "tensorboard" else _to_mlflow
    scores = {name: float(value) for name, value in (metrics or {}).items() if isinstance(value, int | float)}
    send(run, flat_settings(config), _figures(run), scores, folder)


def flat_settings(config: ExperimentConfig) -> dict[str, str]:
    """Return the value of every knob by its path, for example `learner.training.lr`."""
    import pandas as pd

    return pd.json_normalize(to_dict(config), sep=".").iloc[0].map(str).to_dict()


def _figures(run: "RunDir") -> Steps:
    """Yield each row of the history of each finished fold: `fold_0`, epoch or number of trees, figures."""
    import pandas as pd

    for k in run.finished:
        if (path := run.fold(k) / names.HISTORY).is_file():
            for step, figures in pd.read_csv(path, index_col=0).to_dict("index").items():
                yield path.parent.name, int(step), figures


def _to_tensorboard(run: "RunDir", settings: dict[str, str], rows: Steps, scores: dict[str, float], folder: Path) -> None:
    from torch.utils.tensorboard import SummaryWriter

    for fold, of_fold in groupby(rows, itemgetter(0)):
        with SummaryWriter(str(folder / run.path.name / fold)) as writer:
            for _, step, figures in of_fold:
                for figure, value in figures.items():
                    writer.add_scalar(figure, value, step)
    with SummaryWriter(str(folder / run.path.name)) as writer:
        writer.add_text("config", "\n".join(f"    {knob} = {value}" for knob, value in settings.items()))
        for figure, value in scores.items():
            writer.add_scalar(figure, value)


def _to_mlflow(run: "RunDir", settings: dict[str, str], rows: Steps, scores: dict[str, float], folder: Path) -> None:
    import mlflow

    folder.mkdir(parents=True, exist_ok=True)
    mlflow.set_tracking_uri(f"sqlite:///{(folder / 'mlflow.db').resolve()}")
    if mlflow.get_experiment_by_name(run.path.name) is None:  # files would go to the working directory
        mlflow.create_experiment(run.path.name, artifact_location=(folder / "artifacts").resolve().as_uri())
    mlflow.set_experiment(run.path.name)
    with mlflow.start_run(run_name=run.path.name):
        mlflow.log_params(settings)
        for fold, step, figures in rows:
            mlflow.log_metrics({f"{fold}/{figure}": value for figure, value in figures.items()}, step=step)
        mlflow.log_metrics(scores)
        for name in (names.METRICS_FILE, "oof.csv", "test.csv", "config.json"):
            if (run.path / name).is_file():
                mlflow.log_artifact(str(run.path / name))
