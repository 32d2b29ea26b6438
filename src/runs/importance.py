"""How much each knob of a search matters, by Optuna's two measures."""

from typing import TYPE_CHECKING

import pandas as pd

from src.runs.trial import is_finished

if TYPE_CHECKING:
    from optuna import Study

MIN_FINISHED = 10  # trials; of fewer, importances are noise


def importances(study: "Study") -> pd.DataFrame | None:
    """Return the importance of each knob among the finished trials, the largest first; None if those are fewer than MIN_FINISHED.

    The columns: knob, its path; fanova, the share of the variance of the loss that it explains in a random forest over all
    settings (Hutter et al., ICML 2014); ped_anova, by how much its distribution among the best trials differs from that among
    all (Watanabe et al., IJCAI 2023, doi:10.24963/ijcai.2023/488). Each sums to 1.
    """
    if sum(map(is_finished, study.trials)) < MIN_FINISHED:
        return None
    from optuna.importance import FanovaImportanceEvaluator, PedAnovaImportanceEvaluator, get_param_importances

    measures = {"fanova": FanovaImportanceEvaluator(seed=0), "ped_anova": PedAnovaImportanceEvaluator()}
    found = {name: get_param_importances(study, evaluator=evaluator) for name, evaluator in measures.items()}
    table = pd.DataFrame(found).rename_axis("knob").reset_index()
    return table.sort_values("fanova", ascending=False, ignore_index=True)
