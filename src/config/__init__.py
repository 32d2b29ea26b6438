"""Every knob of an experiment, with its unit and range.

A default means "as before": it never changes once a living experiment relies on it.
"""

from src.config.catalogue import LEARNED_ON_ENERGIES, track
from src.config.knobs import *
from src.config.schema import from_dict, to_dict
