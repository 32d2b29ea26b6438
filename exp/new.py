"""Makes the folder of a new experiment from its parent's.

    python exp/new.py 042 --from 012 --why "Do 128 channels help?"

The question becomes the first line of the config's docstring, which the ledger shows. Then edit config.py and say what changed.
"""

import argparse
import ast
import shutil
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from src.paths import EXPERIMENTS, experiment_name, shown

MAX_QUESTION = 120  # characters; it is a line of the config


def new_config(parent_config: str, parent: str, why: str) -> str:
    """The parent's config under a new docstring."""
    docstring = ast.parse(parent_config).body[0]
    if ast.get_docstring(ast.parse(parent_config)) is None or docstring.end_lineno is None:
        raise ValueError(f"{parent}/config.py has no docstring")
    rest = parent_config.splitlines(keepends=True)[docstring.end_lineno :]
    return f'"""{why}\n\nParent: {parent}. Changed: nothing yet.\n"""\n' + "".join(rest)


def new_experiment(number: str, parent_number: str, why: str, experiments: Path = EXPERIMENTS) -> Path:
    """The folder of the new experiment; ValueError where it is there already, or the parent is not."""
    name, parent = experiment_name(number), experiment_name(parent_number)
    folder, source = experiments / name, experiments / parent
    if folder.exists():
        raise ValueError(f"{shown(folder)} is there already; an experiment never changes, take a free number")
    if not (source / "config.py").is_file():
        raise ValueError(f"there is no experiment {parent} in {shown(experiments)}")
    why = why.strip()
    if not why or "\n" in why or '"' in why or "\\" in why or len(why) > MAX_QUESTION:
        raise ValueError(f"--why {why!r}: one line of 1 to {MAX_QUESTION} characters without double quotes and backslashes")
    config = new_config((source / "config.py").read_text(encoding="utf-8"), parent, why)
    command = (source / "train.py").read_text(encoding="utf-8").replace(parent, name)
    temporary = Path(tempfile.mkdtemp(dir=experiments, prefix=f".{name}-"))
    try:
        (temporary / "config.py").write_text(config, encoding="utf-8")
        (temporary / "train.py").write_text(command, encoding="utf-8")
        temporary.chmod(0o755)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("number", help="of the new experiment, 042 for instance")
    parser.add_argument("--from", dest="parent", required=True, metavar="NUMBER", help="its parent")
    parser.add_argument("--why", required=True, help="its question, in one line")
    args = parser.parse_args(argv)
    try:
        folder = new_experiment(args.number, args.parent, args.why)
    except ValueError as error:
        sys.exit(f"new: {error}")
    print(f"{shown(folder)}: now edit config.py, say there what changed, and run: python {shown(folder)}/train.py")


if __name__ == "__main__":
    main()
