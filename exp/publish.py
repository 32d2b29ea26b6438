"""Publishes finished runs on the embedded task: copies metrics.json, oof.csv.gz and test.csv.gz to exp/expNNN/results;
of a study its table, picture and predictions.

python exp/publish.py 003 004 005
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from src.command import one_message
from src.paths import DEFAULT_TASK, EXPERIMENTS, OUTPUTS, experiment_name
from src.results.predictions import publish
from src.results.study import TABLE, publish_study

if __name__ == "__main__":
    if not sys.argv[1:]:
        sys.exit(__doc__)
    for number in sys.argv[1:]:
        with one_message("publish"):
            name = experiment_name(number)
            study = OUTPUTS / DEFAULT_TASK.name / name
            if (study / TABLE).is_file():
                publish_study(study, EXPERIMENTS / name / "results")
                print(EXPERIMENTS / name / "results")
            else:
                print(publish(number))
