"""Why a trained network loses accuracy on its way to the chip: stages that add one cause each, and advice."""

from chiploop.recipes.explain.advice import advise
from chiploop.recipes.explain.conditions import Conditions
from chiploop.recipes.explain.ladder import explain

__all__ = ["Conditions", "advise", "explain"]
