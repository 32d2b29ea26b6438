"""`from crystal_formation_energy import Predictor`: in this folder and, after `pip install -e` of this folder, in any other.

The code is the package `src` of this repository, whose models and tasks lie beside it. It is loaded from here, so that a folder
`src` of the caller's project does not stand in its way.
"""

import importlib.util
import sys
from pathlib import Path

SOURCE = Path(__file__).resolve().parent / "src"
loaded = sys.modules.get("src")
if loaded is not None and str(SOURCE) not in map(str, loaded.__path__):
    raise ImportError(f"another package named src is imported already ({[*loaded.__path__]}), and that of {SOURCE} is needed")
if loaded is None and (spec := importlib.util.spec_from_file_location("src", SOURCE / "__init__.py")):
    sys.modules["src"] = importlib.util.module_from_spec(spec)

from src.predict import Predictor

__all__ = ["Predictor"]
