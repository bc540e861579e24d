"""What a run refuses before it trains anything."""

from __future__ import annotations

import pytest

from chiploop.errors import RecipeError
from chiploop.recipes.prepare import prepare
from chiploop.recipes.recipe import Recipe
from chiploop.recipes.run import require_fit


def recipe_with(layers: str) -> Recipe:
    """A recipe for the three shapes with another network."""
    return Recipe.model_validate(
        {
            "name": "shapes",
            "data": {"dataset": "shapes", "n": 60},
            "network": {"layers": layers, "activity": 4.0},
            "learn": {"bptt": {"method": "bptt"}},
        }
    )


def test_answers_are_counted_before_a_last_pool() -> None:
    recipe = recipe_with("4c3p1-P2-3c3-P2")  # three classes after the pool, twelve neurons before it
    with pytest.raises(RecipeError, match="gives 12 outputs, but 'shapes' has 3 classes"):
        require_fit(recipe, prepare(recipe, None, seed=0), seed=0)


def test_a_map_of_one_neuron_a_class_is_as_good_as_a_fully_connected_layer() -> None:
    recipe = recipe_with("4c3p1-P2-3c4")
    require_fit(recipe, prepare(recipe, None, seed=0), seed=0)
