"""Saved fold models -> predictions for any crystals, with intervals and remarks. Nothing is trained.

predictor = Predictor.load()
table = predictor.predict([structure])    # prediction, lower, upper, spread in the task's unit, and remarks
vectors = predictor.features([structure])    # (1, n_features), for a model of your own
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from src.predict.predictor import Predictor, predict_files

__all__ = ["Predictor", "predict_files"]


def __getattr__(name: str) -> object:
    """Return Predictor or predict_files, imported late: processes that only read structures do not need their imports."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from src.predict import predictor

    return getattr(predictor, name)
