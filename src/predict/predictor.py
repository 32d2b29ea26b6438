"""Finished experiments, ready to predict structures and files, with intervals and remarks."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from src.config import TargetConfig
from src.data.table import Crystals
from src.data.task import read_task
from src.features.similarity import Likeness, TrainingSet, likeness
from src.learners.device import check_device
from src.paths import BEST, DEFAULT_TASK, OUTPUTS, shown
from src.predict.fold_models import FoldModels, find_models, load_models
from src.predict.read import Found, checked, crystals_of, read_structures, with_fields
from src.results.blend import normalized_weights, shared_folds, stack_oof, stack_oof_spread
from src.results.intervals import Scale, bounds_of_new, part_spread, total_spread
from src.results.surroundings import Difficulty, Seen, Surroundings, considered
from src.storage.cache import ALL_CORES
from src.storage.files import remedy, unpacked, write_csv

if TYPE_CHECKING:
    from src.results.probabilities import VennAbers

Values = NDArray[np.float64]
BOUNDS = ["prediction", "lower", "upper", "spread"]
AT_ONCE = 2000  # crystals whose graphs are in memory: about 200 MB
N_SHOWN, N_FAILURES = 10, 50  # rows of the table for people, and failures above it
PREDICTED = ["name", "formula", *BOUNDS, "remark"]


@dataclass(frozen=True, eq=False)
class Predictor:
    """Finished experiments, ready to predict.

    scale: of errors. seen, fold: of training crystals out of fold, on that scale, and the fold that each is from, in the order of
        `training`.
    kept: file with the difficulty learned from their errors, if published. n_jobs: processes that prepare many structures.
    chances: for classes, the calibration of probabilities; None if a number is predicted.
    """

    models: FoldModels
    scale: Scale
    seen: Seen
    fold: NDArray[np.int64]
    training: TrainingSet
    kept: Path | None
    n_jobs: int = 1
    chances: "VennAbers | None" = None

    @classmethod
    def load(
        cls,
        *numbers: str,
        weights: Sequence[float] | None = None,
        task: Path = DEFAULT_TASK,
        target: str | None = None,
        outputs: Path = OUTPUTS,
        device: str = "cpu",
        n_jobs: int = 1,
    ) -> "Predictor":
        """Return the predictor of finished experiments, or of the models published in exp/expNNN/results/models.

        numbers: such as "094"; none: the published models. weights: one per experiment (default: equal). task: the folder of its
        task.toml. target: which of its targets, if it has several.
        Raises FileNotFoundError if models are missing, and ValueError if files are damaged, experiments do not fit together, or
        torch cannot use the device.
        """
        check_device(device)
        described, numbers = read_task(task, target), numbers or (BEST,)
        found = find_models(numbers, described, outputs)
        share = normalized_weights(weights or [1.0] * len(numbers), len(numbers))
        parts = [load_models(one, described, outputs, device) for one in found]
        path = found[0].models.training_path
        training = TrainingSet.load(path, remedy(path))
        if set(training.ids) != set(found[0].oof["id"]):
            raise ValueError(f"{shown(path)} describes other crystals than {found[0].name} was trained on; {remedy(path)}")
        found[0] = replace(found[0], oof=found[0].oof.set_index("id").loc[training.ids].reset_index())
        fold, (truth, oof) = shared_folds(found), stack_oof(found)
        blend = FoldModels(TargetConfig(), parts=parts, weights=share[None])
        models = parts[0] if len(parts) == 1 else blend
        scale = Scale.of(models.transforms)
        wanted, center = scale.forward(truth), scale.forward(oof @ share)
        seen = Seen(np.abs(wanted - center), wanted, center, part_spread(oof, stack_oof_spread(found), share))
        chances = None
        if described.of_classes:
            from src.results.probabilities import VennAbers  # numbers do without

            chances = VennAbers.fit(truth, oof @ share)
        kept = found[0].models.difficulty_path if len(found) == 1 else None
        return cls(models, scale, seen, fold, training, kept, n_jobs, chances)

    def predict(self, structures: Any, columns: pd.DataFrame | None = None) -> pd.DataFrame:
        """Return a row for each structure: name (its number), formula, prediction, lower, upper, spread and remark.

        prediction: mean over the fold models, eV/atom or the task's unit. lower, upper: 90% interval. spread: standard deviation
        over fold models and members. For classes, the prediction is the probability of the second, and the bounds are those of
        the calibrated probability. remark: what is unusual about the crystal, or why it has no prediction.
        structures: one or several pymatgen Structures, ASE's Atoms or Crystals, in any cell. columns: (n_structures, n_columns),
        the further columns of the task if the models were trained with them; ValueError if these are missing.
        """
        return self.predict_found(self._checked(structures, columns))

    def predict_found(self, found: Sequence[Found], alike: Likeness | None = None) -> pd.DataFrame:
        """Return the table of `predict` for structures that were read from files. alike: of those that are crystals."""
        table = pd.DataFrame({"name": [one.name for one in found], "formula": ""})
        table[BOUNDS], table["remark"] = np.nan, [one.reason for one in found]
        crystals = {i: one.crystal for i, one in enumerate(found) if one.crystal is not None}
        if rows := list(crystals):
            pred, within, faults = self._predict([found[i] for i in rows])
            alike = alike or likeness(Crystals.from_list(list(crystals.values())), self.n_jobs)
            remarks = self.training.remarks(alike, self.models.elements_are_alike)
            table.loc[rows, BOUNDS] = self._summary(pred, within, alike)
            table.loc[rows, "remark"] = [fault or remark for fault, remark in zip(faults, remarks, strict=True)]
            table.loc[rows, "formula"] = [crystal.reduced_formula for crystal in crystals.values()]
        return table

    def features(self, structures: Any, columns: pd.DataFrame | None = None) -> NDArray[np.float32]:
        """Return the vectors that the networks' heads read, averaged over atoms, of all fold models, (n, n_features).

        columns: as for `predict`. Raises ValueError for a structure that is no crystal, and if a model is not a network.
        """
        found = self._checked(structures, columns)
        if bad := [one for one in found if one.reason]:
            raise ValueError(f"structure {bad[0].name}: {bad[0].reason}")
        needed = self.models.columns
        return np.concatenate([self.models.features(crystals_of(some, needed), self.n_jobs) for some in _blocks(found)])

    def write_difficulty(self, path: Path) -> None:
        """Write the difficulty learned from the errors, which takes seconds; for classes there is nothing to write."""
        if self.chances is None:
            self._around[1].write(path)

    def _checked(self, structures: Any, columns: pd.DataFrame | None) -> list[Found]:
        """Return the structures, whose names are their numbers, with their fields of further columns."""
        if any(hasattr(structures, name) for name in ("frac_coords", "get_scaled_positions")):
            structures = [structures]  # it would be taken for a list of its atoms
        found, needed = [checked(str(i), structure) for i, structure in enumerate(structures)], self.models.columns
        if columns is None and needed.all:
            raise ValueError(
                f"the models were trained with the columns {', '.join(needed.all)}: give them, predict(..., columns=...)"
            )
        return found if columns is None else with_fields(found, columns, needed)

    def _predict(self, found: Sequence[Found]) -> tuple[Values, Values, list[str]]:
        """Return what `FoldModels.predict` returns and what is wrong with each crystal, NaN for one that has a fault."""
        if len(found) > AT_ONCE:
            pred, within, each = zip(*map(self._predict, _blocks(found)), strict=True)
            return np.concatenate(pred), np.concatenate(within), list(chain(*each))
        needed = self.models.columns
        try:
            return *self.models.predict(crystals_of(found, needed), self.n_jobs), [""] * len(found)
        except ValueError:
            faults = [self._fault(one) for one in found]
        values = np.full((2, len(found), self.fold.max() + 1), np.nan)
        if good := [i for i, fault in enumerate(faults) if not fault]:
            values[:, good] = self.models.predict(crystals_of([found[i] for i in good], needed), self.n_jobs)
        return *values, faults

    def _fault(self, one: Found) -> str:
        """Return why the models cannot predict a crystal, or what is wrong with its columns; an empty text if they can."""
        try:
            self.models.check(crystals_of([one], self.models.columns))
        except ValueError as error:
            return str(error)
        return ""

    @cached_property
    def _around(self) -> tuple[Surroundings, Difficulty]:
        """The neighbours of the training crystals that are considered, and the difficulty learned from their errors."""
        points, rows = self.training.coordinates(self.training.known), considered(self.fold)
        around = Surroundings.of(points[rows], self.fold[rows])
        return around, around.learn(self.seen.of(rows), False, self.kept)

    def _summary(self, pred: Values, within: Values, alike: Likeness) -> Values:
        """Return prediction, lower, upper and spread, (n_rows, 4). pred, within: (n_rows, n_folds)."""
        mean = pd.DataFrame(pred).mean(axis=1).to_numpy()  # as test.csv is averaged, to the last bit
        if self.chances is not None:
            return np.stack([mean, *self.chances.bounds(mean), total_spread(pred, within)], axis=1)
        around, difficulty = self._around
        around = around.with_new(self.training.coordinates(alike))
        target, points = self.scale.back(self.seen.target), self.training.coordinates(self.training.known)
        bounds = bounds_of_new(around, difficulty, pred, within, self.scale, target, points)
        return np.stack([mean, *bounds, total_spread(pred, within)], axis=1)


def predict_files(
    paths: Sequence[Path],
    out: Path,
    numbers: Sequence[str],
    task: Path,
    target: str | None = None,
    named: tuple[str | None, str | None] = (None, None),
    outputs: Path = OUTPUTS,
    **options: Any,
) -> tuple[str, int]:
    """Write the predictions for files, folders and tables; return a short table for people and how many have none.

    named: the columns of ids and structures in tables, if not the task's. The other arguments are those of
    `Predictor.load`. Raises ValueError if `out` is another file than a table of predictions.
    """
    check_device(options.get("device", "cpu"))
    described = read_task(task, target)
    own = replace(described, id_column=named[0] or described.id_column, structure_column=named[1] or described.structure_column)
    find_models(numbers, described, outputs)  # before anything is read
    if out.is_file() and out.stat().st_size and not unpacked(out).startswith(",".join(PREDICTED).encode()):
        raise ValueError(f"{out} exists and is no table of predictions; name another file with --out")
    with ThreadPoolExecutor(1) as pool:  # torch is imported while other processes read the structures
        loading = pool.submit(Predictor.load, *numbers, task=task, target=target, outputs=outputs, n_jobs=ALL_CORES, **options)
        found = read_structures(paths, own, ALL_CORES, any(named), without=out)
        crystals = [one.crystal for one in found if one.crystal is not None]
        alike = likeness(Crystals.from_list(crystals), ALL_CORES) if crystals else None  # by the same processes
        table = loading.result().predict_found(found, alike)
    write_csv(out, table)
    n_failed = int(table["prediction"].isna().sum())
    what = (
        f"probabilities of {described.texts[1]}, bounds of calibrated ones"
        if described.of_classes
        else f"predictions in {described.unit}, 90% intervals"
    )
    summary = f"{shown(out)}: {len(table) - n_failed} {what}"
    return "\n".join([*_lines(table), summary]), n_failed


def _lines(table: pd.DataFrame) -> list[str]:
    """Return the rows without a prediction, each with its reason, and the first of the others, as text."""
    failed = table[table["prediction"].isna()]
    lines = [f"no prediction for {one.name}: {one.remark}" for one in failed.head(N_FAILURES).itertuples()]
    lines += [f"no prediction for {len(failed) - N_FAILURES} more"] if len(failed) > N_FAILURES else []
    first = (others := table.drop(failed.index)).head(N_SHOWN)
    if len(first):
        rows = first[PREDICTED[:-1]].to_string(index=False, float_format="{:.4f}".format).splitlines()
        lines += [f"{row}  {remark}".rstrip() for row, remark in zip(rows, ["remark", *first["remark"]], strict=True)]
    return lines + ([f"... and {len(others) - N_SHOWN} more"] if len(others) > N_SHOWN else [])


def _blocks(found: Sequence[Found]) -> list[Sequence[Found]]:
    return [found[i : i + AT_ONCE] for i in range(0, len(found), AT_ONCE)]
