"""Saved fold models -> predictions for any crystals, with intervals and remarks. Nothing is trained.

predictor = Predictor.load("093")
table = predictor.predict([structure])    # prediction, lower, upper, spread in the task's unit, and remarks
vectors = predictor.features([structure])    # (1, n_features), for a model of your own
"""

from src.predict.predictor import Predictor, predict_files

__all__ = ["Predictor", "predict_files"]
