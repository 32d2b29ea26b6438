"""A blend as an experiment: its folds are blends of its parts' folds, so it writes the same files as any run."""

import logging
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from src.data.load import TaskData
from src.results.blend import ON_LOGITS, fit_blend, shared_folds, stack_oof
from src.results.folder import OOF_COLUMNS, RunDir
from src.results.intervals import fold_predictions, part_spread_of_oof
from src.results.metrics import scores
from src.results.predictions import Predictions, find_predictions
from src.storage.files import write_json

log = logging.getLogger(__name__)


def write_blend(
    numbers: Sequence[str], run: RunDir, data: TaskData, fold_of_crystal: NDArray[np.int64], versions: dict[str, str]
) -> None:
    """Write every fold of a blend: its own crystals and the test crystals, blended by weights fitted on the other folds.

    numbers: of its parts.
    Raises ValueError if a part was trained on other data or other folds, FileNotFoundError if one is not finished.
    """
    parts = [find_predictions(number, data.task, data.outputs) for number in numbers]
    _check(parts, data, fold_of_crystal)
    target, oof = stack_oof(parts)
    n_folds = int(fold_of_crystal.max()) + 1
    blend = fit_blend("weights", target, oof, fold_of_crystal, data.task.metric)
    weights, within = blend.fold_weights, part_spread_of_oof(parts, blend, fold_of_crystal)
    test_ids = list(data.test.ids)
    test_pred, test_within = fold_predictions(parts, blend, test_ids, n_folds)
    for k in range(n_folds):
        rows = fold_of_crystal == k
        columns = (data.train.ids[rows], k, target[rows], blend.nested_pred[rows])
        valid = pd.DataFrame(dict(zip(OOF_COLUMNS, columns, strict=True))).assign(spread=within[rows])
        test = pd.DataFrame({"id": test_ids, "e_form_pred": test_pred[:, k], "spread": test_within[:, k]})
        own = dict(zip((part.name for part in parts), weights[k].tolist(), strict=True))
        write_json(run.weights(k), own | ({ON_LOGITS: True} if blend.fold_on_logits[k] else {}))
        metrics = {**scores(target[rows], blend.nested_pred[rows]), **_costs(parts, k), "versions": versions}
        run.write_fold(k, valid, test if data.task.has_test else None, metrics)
    spread = weights.std(axis=0)
    shares = (f"{m.name} {w:.3f} ± {s:.3f}" for m, w, s in zip(parts, weights.mean(axis=0), spread, strict=True))
    log.info("%s: weights over folds: %s%s", run.path.name, ", ".join(shares), blend.logits_text)


def _check(parts: list[Predictions], data: TaskData, fold_of_crystal: NDArray[np.int64]) -> None:
    for part in parts:
        oof = part.oof
        if list(oof["id"]) != list(data.train.ids) or not np.allclose(oof["e_form"], data.train.targets, rtol=0, atol=1e-9):
            raise ValueError(f"{part.name} ({part.source}) was trained on data other than the blend's")
    if not np.array_equal(shared_folds(parts), fold_of_crystal):
        raise ValueError(f"{parts[0].name} has folds other than those in the blend's config; give it the parts' folds")


def _costs(parts: list[Predictions], k: int) -> dict:
    """Return the cost of a fold of all parts; the blend itself takes a few seconds."""
    metrics = [part.metrics for part in parts]
    return {
        "n_parameters": sum(m["n_parameters"] for m in metrics),
        "cpu_seconds": sum(m["cpu_seconds"] / len(m["fold_maes"]) for m in metrics),
        "wall_seconds": sum(m["fold_wall_seconds"][k] for m in metrics),
        "resumed": any(k in m.get("resumed_folds", []) for m in metrics),
        "gpus": sorted({gpu for m in metrics for gpu in m.get("gpus", [])}),
    }
