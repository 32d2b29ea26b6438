"""Paths of the repository, and names of experiments."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
INPUT, OUTPUTS, EXPERIMENTS = ROOT / "input", ROOT / "outputs", ROOT / "exp"
SEALED = EXPERIMENTS / "sealed"  # what is kept of experiments whose code has left
DEFAULT_TASK = INPUT / "flla"
MAT2VEC = INPUT / "mat2vec" / "pretrained_embeddings"
BEST = "094"  # the experiment whose published models predict unless others are named


def own_mat2vec() -> Path | None:
    """Return the user's file of mat2vec; None if there is none, so that the packaged table is read."""
    return MAT2VEC if MAT2VEC.is_file() else None


def experiment_name(number: str) -> str:
    """Return 'exp012' for '12', '012' or 'exp012'; raise ValueError for anything else."""
    digits = number.removeprefix("exp")
    if not digits.isdecimal() or len(digits) > 3:
        raise ValueError(f"{number!r} is not the number of an experiment, such as 012")
    return f"exp{int(digits):03d}"


def shown(path: Path) -> Path:
    """Return the path for display: relative to the repository if it is inside."""
    return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path


def experiment_folders() -> list[Path]:
    """Return the folders exp/exp000, exp/exp001, ... in order."""
    return sorted(EXPERIMENTS.glob("exp[0-9][0-9][0-9]"))
