"""Imports go one way.

config, storage -> data -> features, graphs -> models -> learners -> predict -> runs; data -> results -> report.
"""

import ast
import dataclasses
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import cache
from operator import attrgetter
from pathlib import Path
from typing import Any

from conftest import small_task
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from src.config.catalogue import load_config
from src.config.schema import TYPES
from src.paths import EXPERIMENTS, ROOT
from src.runs.ranges import ranges

ALLOWED = {
    "paths": set(),
    "command": {"paths"},
    "config": {"paths"},
    "storage": {"paths"},
    "data": {"config", "storage", "paths"},
    "features": {"config", "storage", "data"},
    "graphs": {"config", "storage", "data"},
    "models": {"config", "graphs"},
    "learners": {"config", "storage", "data", "features", "graphs", "models"},
    "results": {"config", "storage", "paths", "data", "features"},
    "report": {"config", "storage", "paths", "data", "features", "results"},
    "predict": {"command", "config", "storage", "paths", "data", "features", "learners", "results"},
    "runs": {"command", "config", "storage", "paths", "data", "features", "learners", "results"},
    "auto": {"config", "storage", "paths", "data", "features", "learners", "results", "report", "runs"},
}
SRC = ROOT / "src"
MODULES = [path for path in sorted(SRC.rglob("*.py")) if path.name != "__init__.py"]
PYTHON = [path for path in sorted(ROOT.rglob("*.py")) if not {".venv", "outputs"} & set(path.relative_to(ROOT).parts)]

COMMANDS = [ROOT / "submit.py", ROOT / "predict.py", *sorted(EXPERIMENTS.glob("*.py"))]
REGISTRIES = ("src.learners.learner",)  # they exist to be the one place that names all
LINES = {  # of each package: a budget that falls. Whoever raises one says in the commit what needs it.
    "paths": 33,
    "command": 100,
    "config": 778,
    "storage": 541,
    "data": 2_347,
    "features": 1_503,
    "graphs": 740,
    "models": 1_816,
    "learners": 1_604,
    "results": 2_971,
    "report": 852,
    "runs": 1_393,
    "auto": 1_479,
    "predict": 560,
    "input": 405,
    "commands": 477,
}
MAX_LIVING = 40
KEPT = {  # knobs that no living experiment sets and no search varies, and why they stay
    "ExperimentConfig.seed": "whoever runs an experiment again",
    "GbdtConfig.max_bin": "the autopilot's trees",
    "GaussianProcessConfig.features": "the autopilot's recipe",
    "GaussianProcessConfig.n_fit": "the autopilot, which times it",
    "ForestConfig.features": "the autopilot's recipe",
    "ForestConfig.objective": "the autopilot's recipe for classes",
    "ForestConfig.n_trees": "the autopilot, which times it",
    "ForestConfig.max_features": "the autopilot's variants",
    "ExperimentConfig.hurdle": "the autopilot's recipes for targets with many zeros",
    "HurdleConfig.of_all": "the autopilot's forests and networks",
    "HurdleConfig.others": "what ExperimentConfig.trained puts there",
    "FoldConfig.scheme": "tables whose crystals come in groups",
    "FoldConfig.n_folds": "small tables",
    "FoldConfig.seed": "whoever wants other folds",
    "TargetConfig.unseen_elements": "what new recipes set",
    "NequipConfig.n_element_attributes": "official weights, make faithful",
}


def imports(path: Path) -> list[str]:
    """Every module that a file imports, at the top or inside functions."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            found.append(node.module)
            found += [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
    return found


def module_of(path: Path, root: Path) -> str:
    """`src.data.cif` for src/data/cif.py; a package is its __init__.py."""
    return ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")


def circles(root: Path) -> list[list[str]]:
    """Groups of modules below root/src that import each other, directly or through others."""
    files = {module_of(path, root): path for path in (root / "src").rglob("*.py")}
    graph = {module: {name for name in imports(path) if name in files} - {module} for module, path in files.items()}
    names = sorted(graph)
    pairs = [(names.index(a), names.index(b)) for a in names for b in graph[a]]
    rows, columns = zip(*pairs, strict=True) if pairs else ((), ())
    matrix = coo_array(([1] * len(pairs), (rows, columns)), shape=(len(names), len(names)))
    _, label = connected_components(matrix, connection="strong")
    groups = [[name for name, own in zip(names, label, strict=True) if own == k] for k in set(label)]
    return [group for group in groups if len(group) > 1]


def breaches(path: Path, source_part: str) -> list[str]:
    parts = {name.split(".")[1] for name in imports(path) if name.startswith("src.")}
    return sorted(parts - ALLOWED[source_part] - {source_part})


def test_imports_go_one_way() -> None:
    parts = {path: path.relative_to(SRC).parts[0].removesuffix(".py") for path in MODULES}
    assert {str(path): found for path, part in parts.items() if (found := breaches(path, part))} == {}


def test_the_import_rule_can_fail(tmp_path: Path) -> None:
    """What predicts trains nothing, for instance, and what trains predicts nothing."""
    for module, part in {"src.learners.gnn": "models", "src.runs.experiment": "predict", "src.predict.read": "runs"}.items():
        bad = tmp_path / "bad.py"
        bad.write_text(f"def late() -> None:\n    import {module}\n")
        assert breaches(bad, part) == [module.split(".")[1]]


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Imports inside functions count: a circle that hides there is one all the same."""
    assert circles(ROOT) == []


def test_the_search_for_circles_can_fail(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    for name, text in {
        "a": "import src.b\n",
        "b": "def late() -> None:\n    from src.c import x\n",
        "c": "from src import a\n",
        "d": "import src.a\n",
    }.items():
        (tmp_path / "src" / f"{name}.py").write_text(text)
    assert circles(tmp_path) == [["src.a", "src.b", "src.c"]]


def test_neither_data_nor_results_import_torch() -> None:
    for path in [*(SRC / "data").glob("*.py"), *(SRC / "results").glob("*.py")]:
        assert not [name for name in imports(path) if name.split(".")[0] in ("torch", "e3nn")], path


def test_an_experiment_imports_its_config_and_the_command_line_only() -> None:
    for path in (ROOT / "exp").glob("exp*/*.py"):
        for name in imports(path):
            if name.startswith(("src", "exp")):
                assert name.startswith("src.config") or name in ("src.runs.train", "src.runs.train.main"), path


def test_test_labels_are_read_by_four_commands_alone() -> None:
    """src/results/labels.py reads them, for scores that people ask for; the scripts in input/ write them."""
    named = {"src/data/export.py", "src/data/task.py", "src/results/labels.py", "input/prepare_nomad.py"}
    readers = {"exp/compare.py", "exp/publish.py", "exp/report.py", "src/results/ledger.py"}
    for path in PYTHON:
        name = path.relative_to(ROOT).as_posix()
        if not name.startswith("tests/"):
            assert name in named or "test_labels" not in path.read_text(), name
            assert name in readers or "src.results.labels" not in imports(path), name


def test_commands_are_thin_and_nothing_imports_them() -> None:
    """They parse, call and print in 40 lines or fewer; their logic is in src, where it is typed and tested."""
    assert {path.name: n for path in COMMANDS if (n := len(path.read_text().splitlines())) > 40} == {}
    for path in [*COMMANDS, *SRC.rglob("*.py")]:
        assert not [name for name in imports(path) if name.split(".")[0] in ("exp", "submit", "predict")], path


def slow_imports(code: str, slow: tuple[str, ...]) -> str:
    """Return what a Python process says that runs some code and then names the slow libraries it has loaded."""
    tell = f"\nimport sys; sys.exit(str([name for name in {slow} if name in sys.modules]).strip('[]'))"
    return subprocess.run(
        [sys.executable, "-c", code + tell], capture_output=True, text=True, check=False, cwd=ROOT
    ).stderr.strip()


def test_no_command_imports_a_slow_library_before_it_knows_what_to_do() -> None:
    """Each starts in less than a second, so that its help and a wrong option are answered at once."""
    slow = ("torch", "pandas", "lightgbm", "sklearn", "scipy", "matplotlib", "pymatgen", "src.models", "src.graphs")
    code = "import runpy, sys\nsys.argv = ['', '--help']\n"
    for path in [*COMMANDS, ROOT / "input/new_task.py", EXPERIMENTS / "exp094/train.py"]:
        code += f"try: runpy.run_path(r'{path}', run_name='__main__')\nexcept SystemExit: pass\n"
    assert slow_imports(code, slow) == ""


def test_processes_that_prepare_crystals_load_no_slow_library() -> None:
    """Each of them imports what it needs: to read structures, compare them with training and build graphs."""
    slow = ("torch", "pandas", "scipy", "sklearn", "lightgbm", "numba")
    assert slow_imports("import src.predict.read, src.features.similarity, src.graphs.dataset", slow) == ""


MAX_MODULES = 70  # imported before the first training step of exp095
UNUSED = ("src.predict", "src.report", "src.runs.blended", "src.runs.search")
TRAINING = """
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
    command = [sys.executable, "-c", TRAINING, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert found.is_file(), done.stdout + done.stderr
    modules = found.read_text().split()
    assert [name for name in modules if name.startswith(UNUSED)] == []
    assert len(modules) <= MAX_MODULES, "\n".join(modules)


@cache
def living() -> list[Any]:
    """Return the configs of the experiments that can be trained."""
    return [load_config(path.parent) for path in sorted(EXPERIMENTS.glob("exp[0-9]*/config.py"))]


def knobs_set(config: Any) -> Iterator[str]:
    """Yield `Class.knob` for each knob of a config, and of those inside it, whose value is not its default."""
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if field.default is not dataclasses.MISSING and value != field.default:
            yield f"{type(config).__name__}.{field.name}"
        if dataclasses.is_dataclass(value):
            yield from knobs_set(value)


def knobs_varied(config: Any) -> Iterator[str]:
    """Yield `Class.knob` for each knob that a search from this config varies."""
    try:
        found = ranges(config)
    except ValueError:  # no search from here
        return
    for head, _, name in (path.rpartition(".") for path in found):
        yield f"{type(attrgetter(head)(config) if head else config).__name__}.{name}"


def without_use(configs: Iterable[Any]) -> list[str]:
    """Return the knobs with a default that no config sets to another value and no search from one of them varies."""
    used = {knob for config in configs for find in (knobs_set, knobs_varied) for knob in find(config)}
    all_fields = ((name, field) for name, cls in TYPES.items() for field in dataclasses.fields(cls))
    own = ((name, field) for name, field in all_fields if not dataclasses.is_dataclass(field.default))  # others hold knobs
    knobs = {f"{name}.{field.name}" for name, field in own if field.default is not dataclasses.MISSING}
    return sorted(knobs - used)


def test_a_knob_lives_while_a_living_experiment_sets_it_or_a_search_varies_it() -> None:
    """Any other is a constant beside its formula."""
    assert [knob for knob in without_use(living()) if knob not in KEPT] == []


def test_the_rule_of_knobs_can_fail() -> None:
    assert "GbdtConfig.objective" in without_use([]) and "GbdtConfig.objective" not in without_use(living())
    assert set(without_use([])) >= set(KEPT)


def test_at_most_forty_experiments_live() -> None:
    """The next one seals another: `exp/README.md` says how."""
    assert len(living()) <= MAX_LIVING


def n_lines(paths: Iterable[Path]) -> int:
    return sum(len(path.read_text(encoding="utf-8").splitlines()) for path in paths)


def test_every_package_keeps_its_budget_of_lines() -> None:
    packages = {path.stem: [path, *path.glob("**/*.py")] for path in SRC.iterdir() if path.suffix == ".py" or path.is_dir()}
    counted = {name: n_lines(path for path in paths if path.is_file()) for name, paths in packages.items()}
    counted = {name: n for name, n in counted.items() if n}
    counted |= {"input": n_lines((ROOT / "input").glob("*.py")), "commands": n_lines(COMMANDS)}
    assert {name: n for name, n in counted.items() if n > LINES.get(name, 0)} == {}
    assert set(LINES) == set(counted)
    assert {name: n for name, n in counted.items() if n <= LINES[name] - 100} == {}, "lower these budgets"


def importers() -> dict[str, set[str]]:
    """Return the files that import each module of src: modules, commands and experiments."""
    found: dict[str, set[str]] = defaultdict(set)
    for path in PYTHON:
        if not path.is_relative_to(ROOT / "tests") and not path.is_relative_to(ROOT / "bench"):
            for name in imports(path):
                found[name].add(str(path))
    return found


def test_no_module_below_forty_lines_has_a_single_importer() -> None:
    """It is part of the one that imports it; registries aside."""
    found = importers()
    short = {module_of(path, ROOT): path for path in MODULES if n_lines([path]) < 40}
    assert [name for name in short if len(found[name]) <= 1 and name not in REGISTRIES] == []


def twice(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Return the names that occur in several files. pairs: (name, file)."""
    found: dict[str, list[str]] = defaultdict(list)
    for name, file in pairs:
        found[name].append(file)
    return {name: files for name, files in found.items() if len(files) > 1}


def constants(path: Path) -> set[str]:
    """Return the names in capitals that a module assigns."""
    nodes = ast.parse(path.read_text()).body
    targets = [target for node in nodes if isinstance(node, ast.Assign) for target in node.targets]
    targets += [node.target for node in nodes if isinstance(node, ast.AnnAssign)]
    names = (inner.id for target in targets for inner in ast.walk(target) if isinstance(inner, ast.Name))
    return {name for name in names if name.isupper() and len(name) > 1}


def test_no_two_modules_have_one_name() -> None:
    """Nor the plural of another's: who searches for a file by its name finds one."""
    assert twice((path.stem.removesuffix("s"), str(path)) for path in MODULES) == {}


def test_no_constant_has_the_name_of_another() -> None:
    assert twice((name, str(path)) for path in MODULES for name in constants(path)) == {}


def test_the_search_for_names_that_occur_twice_can_fail(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("LIMIT, OTHER = 5, 6\nLINE: int = 7\n")
    assert constants(tmp_path / "a.py") == {"LIMIT", "OTHER", "LINE"}
    assert twice([("LIMIT", "a"), ("LIMIT", "b"), ("LINE", "a")]) == {"LIMIT": ["a", "b"]}
