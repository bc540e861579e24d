"""From a row of a recipe to the options of its method and of the trainer."""

from __future__ import annotations

from chiploop.learn.augment import Augment
from chiploop.learn.distributed import Ranks
from chiploop.learn.fit import FitOptions
from chiploop.learn.method import MethodOptions
from chiploop.learn.penalty import own_mean
from chiploop.quantize.scheme import IntScheme
from chiploop.recipes.recipe import Recipe
from chiploop.recipes.tables import Learn


def method_options(row: Learn, scheme: IntScheme, ranks: Ranks) -> MethodOptions:
    """Return a row's options of its method."""
    return MethodOptions(
        quantized=row.quantized,
        whole_counts=row.whole_counts,
        plan=row.plan,
        forward=row.forward,
        loss=row.loss,
        temperature=row.temperature,
        joint=row.joint,
        activity=row.activity,
        max_rate=row.max_rate,
        scheme=scheme,
        batch_mean=ranks.batch_mean if ranks.size > 1 else own_mean,
    )


def fit_options(recipe: Recipe, row: Learn) -> FitOptions:
    """Return how long and how fast a row is trained."""
    changes = (row.augment or recipe.augment).model_dump()
    return FitOptions(
        epochs=row.epochs,
        batch_size=row.batch_size,
        lr=row.lr,
        final_lr=row.final_lr,
        warmup=row.warmup,
        weight_decay=row.weight_decay,
        clip=row.clip,
        patience=row.patience,
        select=row.select,
        augment=Augment(**changes) if any(changes.values()) else None,
    )
