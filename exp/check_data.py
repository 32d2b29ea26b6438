"""Looks at a task's tables before anything is trained on them.

    python exp/check_data.py [--data input/mine]

Whether test and training crystals can be told apart (adversarial validation), how the target lies in the folds, which crystals
are in the tables more than once (same reduced formula and space group, then pymatgen's StructureMatcher), and elements that only
test crystals have.
"""

import argparse
import sys
from pathlib import Path

import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from src.command import one_message
from src.config import FoldConfig
from src.data.audit import adversarial_auc, duplicate_groups, missing_elements, target_by_fold
from src.data.load import load_folds, load_task_data
from src.data.task import read_task
from src.paths import DEFAULT_TASK, OUTPUTS

MAX_SHOWN = 10


def duplicates_text(groups: list[pd.DataFrame], fold: pd.Series) -> str:
    """What a person needs to know of crystals that are there twice."""
    across = [group for group in groups if group["table"].nunique() == 2]
    folds = [group.loc[group["table"] == "train", "id"].map(fold).nunique() for group in groups]
    lines = [
        f"{len(groups)} groups of matching structures; {len(across)} hold training and test crystals, "
        f"{sum(n > 1 for n in folds)} crystals of different folds"
    ]
    for group in groups[:MAX_SHOWN]:
        ids = ", ".join(f"{row.id} ({row.table})" for row in group.itertuples())
        lines.append(f"  {group['formula'].iloc[0]} (space group {group['space_group'].iloc[0]}): {ids}")
    if len(groups) > MAX_SHOWN:
        lines.append(f"  and {len(groups) - MAX_SHOWN} more")
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DEFAULT_TASK, help="folder of the task (default: input/flla)")
    parser.add_argument("--outputs", type=Path, default=OUTPUTS, help="where the cache goes (default: outputs/)")
    args = parser.parse_args(argv)
    with one_message("check_data"):
        read_task(args.data)
        data = load_task_data(args.data, args.outputs, skip_bad_rows=False, n_jobs=1)
        folds = load_folds(data, FoldConfig())
        auc, telling = adversarial_auc(data.train, data.test)
        groups = duplicate_groups(data.train, data.test)
    print(f"adversarial validation: AUC {auc.mean():.3f} ± {auc.std(ddof=1):.3f} over five folds (0.5: cannot be told apart)")
    print(f"  the features that tell most: {', '.join(telling)}\n")
    print(f"target by fold ({data.task.unit}):\n{target_by_fold(data.train.targets, folds).round(3).to_string()}\n")
    print(duplicates_text(groups, pd.Series(folds, index=data.train.ids)))
    counts, test_counts = (table.crystals.element_counts for table in (data.train, data.test))
    print(f"\nelements that only test crystals have: {', '.join(missing_elements(counts, test_counts)) or 'none'}")
    for k in range(int(folds.max()) + 1):
        absent = missing_elements(counts[folds != k], counts[folds == k])
        if absent:
            print(f"elements that only crystals of fold {k} have: {', '.join(absent)}")


if __name__ == "__main__":
    main()
