"""Publishes finished runs on the embedded task: copies metrics.json, oof.csv.gz and test.csv.gz to exp/expNNN/results.

python exp/publish.py 003 004 005
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from src.runs.artifacts import publish

if __name__ == "__main__":
    if not sys.argv[1:]:
        sys.exit(__doc__)
    for number in sys.argv[1:]:
        try:
            print(publish(number))
        except (ValueError, FileNotFoundError) as error:
            sys.exit(f"publish: {error}")
