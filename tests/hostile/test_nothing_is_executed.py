"""Nothing that is loaded is executed: a check of the source."""

import ast
from collections.abc import Iterator

from src.paths import ROOT

FILES = [path for folder in ("src", "exp", "input") for path in sorted((ROOT / folder).rglob("*.py"))] + [
    ROOT / "submit.py",
    ROOT / "predict.py",
]
MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve", "yaml", "ruamel", "jsonpickle", "commands"}
NAMES = {"eval", "exec", "compile", "__import__"}
GENERATES = "src/models/kernels.py"  # code from the Clebsch-Gordan coefficients; nothing that is loaded goes into it
BETWEEN_OURS = {"src/runs/launch.py": "pickle"}  # through the pipes of a process that it starts itself; no file is read with it
METHODS = {"read_pickle", "read_hdf", "unsafe_load", "system", "popen", "full_load"}
NEEDS = {"torch.load": ("weights_only", True), "np.load": ("allow_pickle", False), "np.save": ("allow_pickle", False)}
ALLOWED = {  # call -> the one file that may make it
    "Word2Vec.load": "src/features/elements.py",  # a gensim file that the user names; announced with its hash
    "loader.exec_module": "src/config/catalogue.py",  # exp/expNNN/config.py
    "joblib.load": "",
}


def dotted(node: ast.expr) -> str:
    """Return the last two names of a call's function, such as `torch.load`."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    parts.append(node.id if isinstance(node, ast.Name) else "")
    return ".".join(reversed(parts[:2]))


def breaches(source: str, path: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            yield from (f"imports {name}" for name in modules if name.split(".")[0] in MODULES - {BETWEEN_OURS.get(path)})
        if not isinstance(node, ast.Call):
            continue
        name = dotted(node.func)
        generates = path == GENERATES and name in ("exec", "compile")
        if (name in NAMES and not generates) or name.split(".")[-1] in METHODS or ALLOWED.get(name, path) != path:
            yield f"calls {name}"
        keywords = {keyword.arg: getattr(keyword.value, "value", None) for keyword in node.keywords}
        if name in NEEDS and keywords.get(NEEDS[name][0], "absent") is not NEEDS[name][1]:
            yield f"calls {name} without {NEEDS[name][0]}={NEEDS[name][1]}"
        if keywords.get("shell"):
            yield f"calls {name} with a shell"


def test_nothing_that_is_loaded_is_executed() -> None:
    names = {path.relative_to(ROOT).as_posix(): path for path in FILES}
    assert {name: found for name, path in names.items() if (found := list(breaches(path.read_text(), name)))} == {}


CAUGHT = [
    "import pickle",
    "from yaml import load",
    "eval(text)",
    "torch.load(path)",
    "torch.load(path, weights_only=False)",
    "np.load(path)",
    "np.load(path, allow_pickle=True)",
    "pd.read_pickle(path)",
    "gensim.models.Word2Vec.load(path)",
    "joblib.load(path)",
    "os.system(text)",
    "subprocess.run(text, shell=True)",
]


def test_the_law_can_fail() -> None:
    assert [source for source in CAUGHT if not list(breaches(source, "src/data/table.py"))] == []
