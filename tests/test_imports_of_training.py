"""What is imported before the first training step of exp095: nothing that serves other commands or other learners."""

import subprocess
import sys
from pathlib import Path

from conftest import small_task

from src.paths import EXPERIMENTS, ROOT

MAX_MODULES = 70
UNUSED = ("src.predict", "src.report", "src.runs.blended", "src.runs.search")
CODE = """
import os, sys
from pathlib import Path
from src.learners.training import Training
from src.runs.train import main

def stop(*_: object) -> None:
    names = [name for name, module in sys.modules.items() if name.startswith("src.") and not hasattr(module, "__path__")]
    Path(sys.argv[1]).write_text("\\n".join(sorted(names)))
    os._exit(0)

Training._add_gradient = stop
main(Path(sys.argv[2]), sys.argv[3:])
"""


def test_few_modules_are_imported_before_the_first_step(tmp_path: Path) -> None:
    task, found = small_task(tmp_path, n_pure=12), tmp_path / "modules.txt"
    arguments = [found, EXPERIMENTS / "exp095", "--folds", "0", "--jobs", "1", "--data", task, "--outputs", tmp_path / "outputs"]
    done = subprocess.run(
        [sys.executable, "-c", CODE, *map(str, arguments)], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert found.is_file(), done.stdout + done.stderr
    modules = found.read_text().split()
    assert [name for name in modules if name.startswith(UNUSED)] == []
    assert len(modules) <= MAX_MODULES, "\n".join(modules)
