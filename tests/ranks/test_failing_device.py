"""The device of one rank fails: all skip the batch, or all stop, and none waits for another that is gone."""

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

TOLERANCE = 2e-5
N_RANKS = 2

# Three batches of 5; with the activity's penalty, ranks speak to each other in the middle of a step, too.
BUSY = {"method": "cil-bptt", "n": 15, "batch": 5, "options": {"activity": 0.5, "max_rate": 0.2}}
SKIP = {"then": "skip", "retries": 1, "max_skipped": 0.4}
CASES: list[dict[str, Any]] = [
    # Rank 1 gets over its call 0; its calls 2 and 3 are batch 1 and the retry, and it skips.
    {**BUSY, "policy": SKIP, "failing": {"1": [0, 2, 3]}},
    # Both fail, on different batches, and only one may be skipped.
    {**BUSY, "policy": {**SKIP, "retries": 0}, "failing": {"0": [0], "1": [2]}},
    {**BUSY, "policy": {"then": "stop", "retries": 0}, "failing": {"1": [1]}},
    # Both fail on the same batch.
    {**BUSY, "policy": {**SKIP, "retries": 0}, "failing": {"0": [1], "1": [1]}},
    # The last batch of an epoch is left out, and another epoch follows.
    {**BUSY, "options": {}, "epochs": 3, "policy": {**SKIP, "retries": 0}, "failing": {"1": [2]}},
]


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> list[list[tuple[dict[str, Tensor], dict[str, Any]]]]:
    """What every rank ended in, by case."""
    folder = tmp_path_factory.mktemp("failing")
    (folder / "cases.json").write_text(json.dumps(CASES))
    outcome = run_together(N_RANKS, HERE / "rank_worker.py", folder / "cases.json", folder, folder=folder)
    assert outcome.code == 0, outcome.err

    def left(number: int, rank: int) -> tuple[dict[str, Tensor], dict[str, Any]]:
        path = folder / f"{number}-{rank}.json"
        return load_file(path.with_suffix(".safetensors")), json.loads(path.read_text())

    return [[left(number, rank) for rank in range(N_RANKS)] for number in range(len(CASES))]


def test_all_ranks_skip_the_batch_that_one_could_not_run(ended: Any) -> None:
    (tensors, told), (other, also) = ended[0]
    require_same_tensors(other, tensors)
    assert told["history"] == also["history"]
    assert told["history"][0][-1] == 1
    alone, expected = train(
        {**BUSY, "policy": {**SKIP, "retries": 0}, "failing": {"0": [1]}}
    )  # a lone run skips it too
    for name, weight in alone.items():
        torch.testing.assert_close(tensors[name], weight, rtol=0, atol=TOLERANCE)
    assert told["history"][0] == pytest.approx(expected["history"][0], rel=1e-5)


def test_the_first_rank_notes_what_happened_on_the_others(ended: Any) -> None:
    (_, first), (_, other) = ended[0]
    assert other["failures"] == [
        [0, "retried", "call 0 was slow"],
        [1, "retried", "call 2 was slow"],
        [1, "skipped", "rank 1: call 3 was slow"],
    ]
    assert sorted(first["failures"]) == [
        [0, "retried", "rank 1: call 0 was slow"],
        [1, "retried", "rank 1: call 2 was slow"],
        [1, "skipped", "rank 1: call 3 was slow"],
    ]


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (1, "epoch 0, batch 2: rank 1: call 2 was slow; training stops here"),  # batch 0 was skipped, for rank 0
        (2, "epoch 0, batch 1: rank 1: call 1 was slow; training stops here"),
    ],
)
def test_all_ranks_stop_with_the_same_error(ended: Any, number: int, message: str) -> None:
    (tensors, first), (other, also) = ended[number]
    assert first["error"] == also["error"]
    kind, text = first["error"]
    assert kind == "DeviceTimeoutError"
    assert text.startswith(message)
    require_same_tensors(other, tensors)


def test_ranks_that_fail_on_one_batch_skip_it_once(ended: Any) -> None:
    for _, told in ended[3]:
        assert told["history"][0][-1] == 1
        assert told["failures"] == [[1, "skipped", "rank 0: call 1 was slow"]]


def test_an_epoch_may_end_with_a_batch_that_is_skipped(ended: Any) -> None:
    (tensors, told), (other, also) = ended[4]
    require_same_tensors(other, tensors)
    assert told["history"] == also["history"]
    assert [epoch[-1] for epoch in told["history"]] == [1, 0, 0]
