"""How much each knob of a search matters."""

from typing import TYPE_CHECKING

import pandas as pd

from src.runs.trial import is_finished

if TYPE_CHECKING:
    from optuna import Study

MIN_FINISHED = 10  # trials; of fewer, importances are noise


def importances(study: "Study") -> pd.DataFrame | None:
    """Return the importance of each knob, the largest first; None if fewer than MIN_FINISHED trials ended, or all alike.

    The columns: knob, its path; importance, the sum of which is 1. It is Optuna's default, PED-ANOVA (Watanabe et al., IJCAI
    2023, doi:10.24963/ijcai.2023/488): by how much the values of a knob among the best finished trials differ from those of all.
    """
    losses = {trial.value for trial in study.trials if is_finished(trial)}
    if sum(map(is_finished, study.trials)) < MIN_FINISHED or len(losses) == 1:
        return None
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

    found = get_param_importances(study, evaluator=PedAnovaImportanceEvaluator())
    return pd.DataFrame({"knob": list(found), "importance": list(found.values())})
