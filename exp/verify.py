"""Train one fold of a published experiment again and compare it with the published rows.

    python exp/verify.py 005 --fold 3
    python exp/verify.py 024 --fold 3 --data input/mine --target gap

On the published run's type of machine and library versions, the rows agree to 1e-5 eV/atom. Elsewhere the retrained model must
pass as one of the same recipe (src/runs/verify.py).
For a sealed experiment, prints the command that verifies it with its own commit, and exits with status 3.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from src.command import command, one_message, task_options
from src.data.task import read_tasks

NOT_HERE = 3  # exit status: the experiment is sealed


def main(argv: list[str] | None = None) -> None:
    parser = command(__doc__, task_options())
    parser.add_argument("number", help="a published experiment")
    parser.add_argument("--fold", type=int, default=0, help="the fold to train (default: 0)")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, ... (default: cpu)")
    args = parser.parse_args(argv)
    with one_message("verify"):
        from src.runs.verify import command_elsewhere, verify  # imports for seconds

        if there := command_elsewhere(args.number, args.fold, args.device):
            print(there)
            sys.exit(NOT_HERE)
        found = [verify(args.number, args.fold, task, args.device) for task in read_tasks(args.data, args.target)]
    print("\n".join(text for _, text in found))
    sys.exit(0 if all(agrees for agrees, _ in found) else 1)


if __name__ == "__main__":
    main()
