"""Configs out of range, and edited or damaged outputs: run files, weights, checkpoints, caches."""

import json
import pickle
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from place import HEAD, NETWORK, TREES, Bad, Place

FOLD = "remove the folder"
AGAIN = "remove it, and train.py will write it again"
Change = Callable[[bytes], bytes]


def other_fold(place: Place) -> None:
    for name in ("valid.csv", "metrics.json"):
        shutil.copy(place.run() / "fold_0" / name, place.run() / "fold_1")


class Malice:
    """An object that writes a file next to the task when it is unpickled, which must never happen."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def __reduce__(self) -> tuple:
        return Path.touch, (self.root / "executed",)


def config(name: str, text: str, *words: str) -> Bad:
    return Bad("config", name, lambda place: place.config(HEAD + text), ("config.py", *words))


def trees(settings: str) -> str:
    return f"ExperimentConfig(learner=GbdtConfig({settings}), folds=FOLDS)"


def file(kind: str, path: str, name: str, change: Change, *words: str, command: Callable = Place.train, run: str = TREES) -> Bad:
    """A file of a run with its bytes changed."""

    def damage(place: Place) -> None:
        target = place.run(run) / path
        target.write_bytes(change(target.read_bytes()))

    named = Path(path).name
    return Bad(kind, f"{path} {name}", damage, (named, *words), command)


def half(content: bytes) -> bytes:
    return content[: len(content) // 2]


def flipped(content: bytes) -> bytes:
    """Return the content with one bit changed, away from its ends."""
    at = len(content) * 2 // 3
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


def garbage(_: bytes) -> bytes:
    return b"\x00\xff no such file \xfe" * 10


def edited(**values: object) -> Change:
    """A change of values in JSON; None leaves a value out."""

    def change(content: bytes) -> bytes:
        data = json.loads(content) | values
        return json.dumps({key: value for key, value in data.items() if value is not None}).encode()

    return change


def replaced(old: str, new: str) -> Change:
    def change(content: bytes) -> bytes:
        assert old.encode() in content
        return content.replace(old.encode(), new.encode(), 1)

    return change


def rows(change: Callable[[list[str]], object]) -> Change:
    def changed(content: bytes) -> bytes:
        lines = content.decode().splitlines()
        change(lines)
        return ("\n".join(lines) + "\n").encode()

    return changed


def last(text: str) -> Change:
    """A change of the last field of the second row; `moved` adds 0.5 eV/atom."""

    def change(lines: list[str]) -> None:
        head, _, number = lines[2].rpartition(",")
        lines[2] = f"{head},{float(number) + 0.5 if text == 'moved' else text}"

    return rows(change)


ROW_TWICE = rows(lambda lines: lines.append(lines[1]))
ROW_LESS = rows(lambda lines: lines.pop())


def folds(name: str, change: Change, *words: str) -> Bad:
    def damage(place: Place) -> None:
        (path,) = (place.outputs / "task" / "folds").glob("*.csv")
        path.write_bytes(change(path.read_bytes()))
        shutil.rmtree(place.run() / "fold_1")

    return Bad("folds", name, damage, ("folds/stratified-2-", *words))


def checkpoint(name: str, write: Callable[[Path, Place], object]) -> Bad:
    """A bad checkpoint of an unfinished fold."""

    def damage(place: Place) -> None:
        fold = place.run(NETWORK) / "fold_1"
        (fold / "metrics.json").unlink()
        write(fold / "checkpoint.pt", place)

    return Bad("checkpoint", name, damage, ("checkpoint.pt is damaged", "remove it"), partial(Place.train, name=NETWORK))


def half_a_checkpoint(path: Path, place: Place) -> None:
    torch.save({"model": {}, "history": [[1.0] * 4] * 1000}, path)
    path.write_bytes(half(path.read_bytes()))


def cache(pattern: str, name: str, change: Callable[[Path, Place], object], reader: str = TREES) -> Bad:
    damage, words = lambda place: change(place.cached(pattern), place), ("damaged", "it will be rebuilt")
    return Bad(f"cache of {reader}", f"{pattern} {name}", damage, words, partial(Place.train, name=reader), "rebuilt")


def reader_of(entry: Bad) -> str:
    """Return the experiment that reads the damaged cache."""
    return entry.kind.split()[-1]


def rewritten(change: Change) -> Callable[[Path, Place], object]:
    return lambda path, place: path.write_bytes(change(path.read_bytes()))


def pickled_array(path: Path, place: Place) -> None:
    np.save(path, np.array([Malice(place.root)], dtype=object), allow_pickle=True)


def pickled(path: Path, place: Place) -> None:
    path.write_bytes(pickle.dumps(Malice(place.root)))


def without_checksum(path: str, name: str, write: Callable[[Path, Place], object], run: str) -> Bad:
    """Bad weights of a run whose learner.json has no checksum."""

    def damage(place: Place) -> None:
        settings = place.run(run) / "fold_1" / "learner.json"
        settings.write_bytes(edited(sha256=None)(settings.read_bytes()))
        write(place.run(run) / "fold_1" / path, place)

    return Bad("weights", f"{path} {name}", damage, (path, "is damaged", FOLD), partial(Place.load, name=run))


CONFIGS = [  # that every knob has a range is tested in test_config.py
    config("not Python", "ExperimentConfig(", "SyntaxError"),
    config("without CONFIG", "None", "CONFIG is not an ExperimentConfig"),
    config("an unknown knob", trees("n_tree=5"), "GbdtConfig.n_tree=5: "),
    config("no trees", trees("n_trees=0"), "GbdtConfig.n_trees=0: "),
    config("half a tree", trees("n_trees=0.5 + 1"), "GbdtConfig.n_trees=1.5: "),
    config("a bool for a number", "TrainingConfig(True)", "TrainingConfig.n_epochs=True: "),
    config("a rate that is NaN", trees("learning_rate=float('nan')"), "GbdtConfig.learning_rate=nan: "),
    Bad("config", "another than the run's", lambda place: place.config(HEAD + trees("n_trees=6")),
        ("config.json", "another config")),
    Bad("config", "the logarithm of negative targets",
        lambda place: place.config(HEAD + trees("n_trees=5").replace("folds", 'target=TargetConfig(transform="log"), folds')),
        ("train.csv.gz: target.transform = 'log' requires targets above 0", "'x-", "correct or remove these rows")),
    Bad("config", "missing", lambda place: (place.root / "exp" / TREES / "config.py").unlink(), ("config.py is missing",)),
]  # fmt: skip
RESTORE = "restore it, or remove"
RUNS = [
    file("run", "config.json", "cut off", half, "is damaged", RESTORE),
    file("run", "config.json", "is a list", lambda _: b"[]", "is damaged", RESTORE),
    file("run", "config.json", "without data", edited(data=None), "data missing", RESTORE),
    file("run", "config.json", "of unknown type", replaced("GbdtConfig", "TreeConfig"), "unknown type 'TreeConfig'", RESTORE),
    file("run", "config.json", "out of range", replaced('"n_trees": 5', '"n_trees": -5'),
         "GbdtConfig.n_trees=-5: ", RESTORE),
    file("run", "config.json", "of another kind", replaced('"n_trees": 5', '"n_trees": "5"'),
         "GbdtConfig.n_trees='5': ", RESTORE),
    file("run", "fold_1/metrics.json", "cut off", half, "is damaged", FOLD, "fold_1"),
    file("run", "fold_1/metrics.json", "is NUL bytes", lambda content: bytes(len(content)), "is damaged", FOLD, "fold_1"),
    file("run", "fold_1/metrics.json", "without its MAE", edited(mae=None), "mae missing", FOLD, "fold_1"),
    file("run", "fold_1/metrics.json", "with an MAE in words", edited(mae="low"), "mae missing or of another", FOLD, "fold_1"),
    file("run", "fold_1/metrics.json", "with a better MAE", edited(mae=0.001), "valid.csv", "metrics.json says 0.001000", FOLD),
    file("run", "fold_1/valid.csv", "cut off", lambda content: half(content) + b'"', "fold_1/valid.csv", FOLD),
    file("run", "fold_1/valid.csv", "garbage", garbage, "is damaged", FOLD, "fold_1"),
    file("run", "fold_1/valid.csv", "empty", lambda _: b"", "is damaged", FOLD, "fold_1"),
    file("run", "fold_1/valid.csv", "edited", last("moved"), "its rows have an MAE of", FOLD),
    file("run", "fold_1/valid.csv", "with NaN", last("nan"), "not finite", FOLD),
    file("run", "fold_1/valid.csv", "with a row twice", ROW_TWICE, "is duplicated", FOLD),
    file("run", "fold_1/valid.csv", "without a column", replaced("e_form_pred", "prediction"), "no column e_form_pred", FOLD),
    Bad("run", "files of another fold", other_fold, ("do not contain each training row", "remove the fold folders")),
    file("run", "fold_1/test.csv", "with a row less", ROW_LESS, "its ids are not those of the test table", "remove"),
    file("run", "fold_1/test.csv", "garbage", garbage, "is damaged", FOLD, "fold_1"),
    file("run", "oof.csv", "cut off", lambda c: half(c) + b'"', "oof.csv", AGAIN, command=Place.submit),
    file("run", "oof.csv", "edited", last("moved"), "metrics.json says", AGAIN, command=Place.submit),
    file("run", "oof.csv", "garbage", garbage, "is damaged", AGAIN, command=Place.compare),
    file("run", "test.csv", "with NaN", last("nan"), "'x-13'", "not finite", AGAIN,
         command=Place.submit),
    file("run", "test.csv", "in words", last("low"), "'x-13'", "not finite", AGAIN,
         command=Place.submit),
    file("run", "test.csv", "with a row twice", ROW_TWICE, "'x-12' is duplicated", AGAIN, command=Place.submit),
    file("run", "metrics.json", "cut off", half, "is damaged", AGAIN, command=Place.submit),
    file("run", "metrics.json", "without its sd", edited(fold_mae_sd=None), "fold_mae_sd", AGAIN, command=Place.compare),
    file("run", "metrics.json", "a deep nest", lambda _: b"[" * 100_000, "is damaged", AGAIN, command=Place.compare),
    folds("garbage", garbage, "is damaged", AGAIN),
    folds("of other rows", ROW_LESS, "its ids and folds are not those of", "remove it"),
    folds("beyond the number of folds", replaced(",1\n", ",99\n"), "its ids and folds are not those of the training", AGAIN),
    folds("in words", replaced(",1\n", ",one\n"), "not finite", AGAIN),
]  # fmt: skip
CHECKPOINTS = [
    checkpoint("garbage", lambda path, place: path.write_bytes(garbage(b""))),
    checkpoint("empty", lambda path, place: path.write_bytes(b"")),
    checkpoint("cut off", half_a_checkpoint),
    checkpoint("of another network", lambda path, place: torch.save({"model": {"w": torch.zeros(3)}}, path)),
    checkpoint("a pickle that runs code", pickled),
    checkpoint("torch's pickle that runs code", lambda path, place: torch.save({"model": Malice(place.root)}, path)),
]
CHANGED = "is damaged or was changed"
WEIGHTS = [
    file("weights", f"fold_1/{path}", name, change, CHANGED, FOLD, "fold_1", command=partial(Place.load, name=run), run=run)
    for run, path in ((TREES, "model.txt"), (NETWORK, "model.safetensors"))
    for name, change in (("cut off", half), ("with a bit changed", flipped))
] + [
    file("weights", "fold_1/learner.json", f"{name}, {run}", change, words, FOLD, command=partial(Place.load, name=run), run=run)
    for run in (TREES, NETWORK)
    for name, change, words in (
        ("cut off", half, "is damaged"),
        ("without a config", edited(config=None), "config missing"),
        ("of unknown type", edited(config={"type": "Nothing"}), "unknown type 'Nothing'"),
    )
] + [
    without_checksum("model.safetensors", "garbage", lambda path, place: path.write_bytes(garbage(b"")), NETWORK),
    without_checksum("model.safetensors", "a pickle that runs code", pickled, NETWORK),
    without_checksum("model.txt", "garbage", lambda path, place: path.write_bytes(garbage(b"")), TREES),
    Bad("weights", "model.txt missing", lambda place: (place.run() / "fold_1" / "model.txt").unlink(),
        ("model.txt is missing", FOLD), partial(Place.load, name=TREES)),
    file("weights", "fold_1/learner.json", "of another kind of learner", edited(config={"type": "FoldConfig"}),
         "not the settings of a learner", command=partial(Place.load, name=TREES)),
]  # fmt: skip
CACHES = [
    cache("crystals-*/levels.json", "cut off", rewritten(half)),
    cache("crystals-*/levels.json", "without a field", rewritten(replaced('"ids": "row"', '"ids2": "row"'))),
    cache("crystals-*/atom.offsets.npy", "missing", lambda path, place: path.unlink()),
    cache("crystals-*/frac_coords.npy", "with a bit changed", rewritten(flipped)),
    cache("crystals-*/ids.npy", "a pickle that runs code", pickled_array),
    cache("features-fractions-*/values.npy", "cut off", rewritten(half)),
    cache("features-fractions-*/values.npy", "with a bit changed", rewritten(flipped)),
    cache("features-fractions-*/columns.npy", "a pickle that runs code", pickled_array),
    cache("graphs-*/edge_vec.npy", "with a bit changed", rewritten(flipped), NETWORK),
    cache("graphs-*/edge_src_index.npy", "cut off", rewritten(half), NETWORK),
    cache("graphs-*/edge_dst_index.npy", "empty", rewritten(lambda _: b""), NETWORK),
]
ENTRIES = [*CONFIGS, *RUNS, *CHECKPOINTS, *WEIGHTS, *CACHES]
