"""Several processes train what one process trains at the same batch, up to the order in which numbers are added."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from rank_worker import train
from strategies_network import require_same_tensors
from together import HERE, run_together

# 13 samples in batches of 5: a last batch of 3, which 2 ranks divide unevenly. 11: a last batch of one sample, fewer
# than there are ranks.
BUSY = {"activity": 0.5, "max_rate": 0.2}  # every layer is beyond its limit: the penalty is no mean over samples
CASES: list[dict[str, Any]] = [
    {"method": "ann", "n": 13, "batch": 5, "epochs": 2, "options": {"quantized": True}},
    {"method": "bptt", "n": 13, "batch": 5, "epochs": 2, "augment": True, "options": BUSY},
    {"method": "cil-bptt", "n": 11, "batch": 5, "epochs": 2, "augment": True, "options": {"joint": 0.5, **BUSY}},
    {"method": "cil-ann", "n": 11, "batch": 5, "augment": True},
]
EXACT = {"method": "linear", "n": 16, "batch": 8, "epochs": 2}
TOLERANCE = 2e-5
"""Of weights around 0.1, after steps of 3e-3: rounded float32 sums, which Adam enlarges where a gradient is near 0."""


@pytest.fixture(scope="module", params=[2, 3])
def together(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[int, dict[str, list[tuple[dict[str, Tensor], dict[str, Any]]]]]:
    """What every rank ended in, by case; each case is trained twice."""
    n, folder = request.param, tmp_path_factory.mktemp("ranks")
    cases = [*CASES, EXACT, *CASES]
    (folder / "cases.json").write_text(json.dumps(cases))
    outcome = run_together(n, HERE / "rank_worker.py", folder / "cases.json", folder, folder=folder)
    assert outcome.code == 0, outcome.err

    def left(number: int, rank: int) -> tuple[dict[str, Tensor], dict[str, Any]]:
        path = folder / f"{number}-{rank}.json"
        return load_file(path.with_suffix(".safetensors")), json.loads(path.read_text())

    return n, {str(number): [left(number, rank) for rank in range(n)] for number in range(len(cases))}


@pytest.mark.parametrize("number", range(len(CASES)), ids=[case["method"] for case in CASES])
def test_weights_and_history_are_those_of_one_process(together: Any, number: int) -> None:
    _, found = together
    expected, told = train(CASES[number])
    (tensors, also), *others = found[str(number)]
    for name, weight in expected.items():
        torch.testing.assert_close(tensors[name], weight, rtol=0, atol=TOLERANCE)
    assert also["best"] == told["best"]
    for mine, theirs in zip(told["history"], also["history"], strict=True):
        assert theirs == pytest.approx(mine, rel=1e-5)
    for same, story in others:  # every rank holds the same network, to the last bit
        require_same_tensors(same, tensors)
        assert story == also


@pytest.mark.parametrize("number", range(len(CASES)), ids=[case["method"] for case in CASES])
def test_training_again_gives_the_same_bits(together: Any, number: int) -> None:
    _, found = together
    require_same_tensors(found[str(number)][0][0], found[str(number + len(CASES) + 1)][0][0])


def test_where_no_sum_is_rounded_the_bits_are_those_of_one_process(together: Any) -> None:
    n, found = together
    expected, (tensors, _) = train(EXACT)[0], found[str(len(CASES))][0]
    if n == 2:  # thirds are rounded
        require_same_tensors(tensors, expected)
    for name, weight in expected.items():
        torch.testing.assert_close(tensors[name], weight, rtol=1e-6, atol=0)
