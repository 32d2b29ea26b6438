"""What an experiment needs of a task's structures, checked before anything is computed or written."""

from src.config import BlendConfig, ExperimentConfig, GbdtConfig, GbdtEnsembleConfig, GnnConfig, SvrConfig
from src.config.load import load_config, sealed
from src.data.task import Task
from src.paths import EXPERIMENTS, experiment_folders, experiment_name


def check_structures(config: ExperimentConfig, task: Task) -> None:
    """Raise ValueError if the task has only formulas and the experiment needs structures; it says which ones do not."""
    if task.structure_format != "formula" or not (needs := structure_needs(config)):
        return
    from src.features.composition import GROUPS

    others = [folder.name for folder in experiment_folders() if not structure_needs(load_config(folder))]
    raise ValueError(
        f"it needs structures ({'; '.join(needs)}), and {task.folder / 'task.toml'} says structure_format = 'formula'. "
        f"Formulas suffice for {', '.join(others)}, and for LightGBM or support vectors on the groups {', '.join(GROUPS)}, and "
        "Roost, in an experiment of your own"
    )


def structure_needs(config: ExperimentConfig) -> list[str]:
    """Return the settings of an experiment that need structures."""
    needs = [f"target.base = {config.target.base!r}"] if config.target.base != "none" else []
    match config.learner:
        case GnnConfig(network=network, graph=graph) if not graph.formula:
            needs.append(f"its learner is a network, {type(network).__name__.removesuffix('Config')}")
        case GbdtEnsembleConfig(members=members):
            needs += _groups([group for member in members for group in member.features])
        case GbdtConfig(features=features) | SvrConfig(features=features):
            needs += _groups(features)
        case BlendConfig(members=numbers):
            names = [name for name in map(experiment_name, numbers) if not sealed(name)]
            needs += [f"its member {name} does" for name in names if structure_needs(load_config(EXPERIMENTS / name))]
    return needs


def _groups(features: "tuple[str, ...] | list[str]") -> list[str]:
    from src.features.tables import NEED_STRUCTURES  # takes half a second to import

    groups = [group for group in dict.fromkeys(features) if group in NEED_STRUCTURES]
    return [f"learner.features: {', '.join(groups)}"] if groups else []
