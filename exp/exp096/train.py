"""Trains exp096; --help shows what can be asked of it."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from src.runs.train import main

if __name__ == "__main__":
    main(Path(__file__).resolve().parent)
