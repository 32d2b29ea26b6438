"""Where the parts of the repository are."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
INPUT, OUTPUTS, EXPERIMENTS = ROOT / "input", ROOT / "outputs", ROOT / "exp"
DEFAULT_TASK = INPUT / "flla"
MAT2VEC = INPUT / "mat2vec" / "pretrained_embeddings"


def experiment_name(number: str) -> str:
    """'12' or '012' or 'exp012' -> 'exp012'; ValueError for anything else."""
    digits = number.removeprefix("exp")
    if not digits.isdecimal() or len(digits) > 3:
        raise ValueError(f"{number!r} is not the number of an experiment, 012 for instance")
    return f"exp{int(digits):03d}"


def shown(path: Path) -> Path:
    """A path for people: relative to the repository where it lies inside."""
    return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
