"""Whole processes, as their users wait for them: wall and CPU seconds.

    make bench WHOLE=1
    make bench WHOLE=1 TEN_FOLDS="010 011"     # ten folds of these experiments as well: many minutes

Every command runs in a process of its own and writes to a temporary folder, the same for all of them, so that the first one
parses the tables and builds the graphs.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tqdm import tqdm

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parent)]
from graph_cost import opening, repeated_graphs  # noqa: E402

from src.data.load import load_task_data  # noqa: E402
from src.paths import DEFAULT_TASK, OUTPUTS, ROOT  # noqa: E402

MAKE_RUN = [  # the commands of make run
    ["exp/exp001/train.py"],
    ["exp/exp000/train.py"],
    ["submit.py", "--exps", "000", "001", "--weights", "0.8", "0.2"],
    ["exp/compare.py", "001", "000"],
]
PREDICT = ["predict.py", str(DEFAULT_TASK / "test.csv.gz")]
N_GRAPHS = 130_000


def measure(command: list[str], outputs: Path) -> tuple[float, float]:
    """Run a command of this repository; return its wall seconds and the CPU seconds of all its processes."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(
        [sys.executable, ROOT / command[0], *command[1:], "--outputs", str(outputs)],
        cwd=outputs,  # predictions.csv goes there
        capture_output=True,
        text=True,
        check=False,
    )
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Run every command and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ten-folds", nargs="*", default=[], metavar="NUMBER", help="experiments to train (default: none)")
    args = parser.parse_args()
    commands = [*MAKE_RUN, *([f"exp/exp{number}/train.py"] for number in args.ten_folds), PREDICT]
    lines = ["| command | wall s | CPU s |", "|---|---|---|"]
    with tempfile.TemporaryDirectory() as folder, tqdm(commands, unit="command") as bar:
        for command in bar:
            bar.set_description(command[0])
            wall, cpu = measure(command, Path(folder))
            lines.append(f"| `{' '.join(command).replace(f'{ROOT}/', '')}` | {wall:.1f} | {cpu:.1f} |")
    data = load_task_data(DEFAULT_TASK, OUTPUTS, skip_bad_rows=False, n_jobs=1)
    store = repeated_graphs(data, N_GRAPHS)
    size, opened = opening(store)
    print("\n".join(lines))
    print(f"graphs of {len(store):,} crystals, {size:.0f} MB: opened in {1000 * opened:.0f} ms")


if __name__ == "__main__":
    main()
