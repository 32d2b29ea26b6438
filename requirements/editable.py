"""The build backend: setuptools, for `pip install -e .` alone. A wheel would have the code without the models that it reads."""

from typing import NoReturn

from setuptools.build_meta import build_editable, get_requires_for_build_editable, prepare_metadata_for_build_editable

__all__ = ["build_editable", "get_requires_for_build_editable", "prepare_metadata_for_build_editable"]


def refuse(*args: object, **options: object) -> NoReturn:
    """Say what to do instead of making a wheel."""
    raise SystemExit(
        "crystal-formation-energy is not made into a wheel: its commands, models and tasks are used where they lie. Clone the "
        "repository and install it from there: pip install -e . Then `from crystal_formation_energy import Predictor` works in "
        "any folder."
    )


get_requires_for_build_wheel = build_wheel = get_requires_for_build_sdist = build_sdist = refuse
