"""What would fail later, checked before anything is computed or written."""

from src.config import ExperimentConfig
from src.config.catalogue import load_config, sealed
from src.data.load import TaskData
from src.data.target import TRANSFORMS
from src.data.task import Task
from src.features.columns import check_columns
from src.paths import EXPERIMENTS, experiment_folders, experiment_name
from src.results.metrics import check_targets


def check_rows(config: ExperimentConfig, data: TaskData) -> None:
    """Raise ValueError, which names the row, if a target or a column is not what the metric or the config needs."""
    rows = data.task.path("train"), data.train.ids.tolist(), data.train.targets
    check_targets(data.task.metric, *rows)
    if (transform := config.target.transform) != "none":
        TRANSFORMS[transform].domain.check(*rows, f"target.transform = {transform!r}")
    check_columns(config.learner.feature_groups, data.task)


def check_structures(config: ExperimentConfig, task: Task) -> None:
    """Raise ValueError if the task has only formulas and the experiment needs structures; it says which ones do not."""
    if task.structure_format != "formula" or not (needs := structure_needs(config)):
        return
    from src.features.groups import FORMULA_GROUPS

    others = [folder.name for folder in experiment_folders() if not structure_needs(load_config(folder))]
    raise ValueError(
        f"it needs structures ({'; '.join(needs)}), and {task.folder / 'task.toml'} says structure_format = 'formula'. "
        f"Formulas suffice for {', '.join(others)}, and for LightGBM on the groups {', '.join(FORMULA_GROUPS)}, and Roost, in an "
        "experiment of your own"
    )


def structure_needs(config: ExperimentConfig) -> list[str]:
    """Return the settings of an experiment that need structures."""
    from src.features.groups import NEED_STRUCTURES  # takes half a second to import

    needs = [f"target.base = {config.target.base!r}"] if config.target.base != "none" else []
    if network := config.learner.graph_network:
        needs.append(f"its learner is a network, {network}")
    if groups := [group for group in config.learner.feature_groups if group in NEED_STRUCTURES]:
        needs.append(f"learner.features: {', '.join(groups)}")
    parts = [name for name in map(experiment_name, config.parts) if not sealed(name)]
    return needs + [f"its part {name} does" for name in parts if structure_needs(load_config(EXPERIMENTS / name))]
