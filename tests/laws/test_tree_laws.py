"""Trees of dataclasses through files: all comes back, equal things give equal bytes, and damage is refused."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.numpy import save

from chiploop import tree
from chiploop.digest import ByContent, digest
from chiploop.errors import DataError
from chiploop.events.types import Events, SensorShape
from chiploop.spec.graph import NetworkSpec, NeuronSpec
from chiploop.spec.ops import Conv, SumPool
from strategies_spec import network_specs, neuron_specs


@given(network_specs())
@settings(max_examples=50)
def test_networks_come_back_with_the_same_digest_and_the_same_bytes(spec: NetworkSpec) -> None:
    content = tree.to_bytes(spec)
    back = tree.from_bytes(content, NetworkSpec)
    assert back == spec
    assert back.digest == spec.digest
    assert tree.to_bytes(back) == content


@given(neuron_specs())
def test_neurons_come_back(spec: NeuronSpec) -> None:
    back = tree.from_bytes(tree.to_bytes(spec), NeuronSpec)
    assert back == spec
    assert digest(back) == digest(spec)


class Pair(NamedTuple):
    left: int
    right: float


@dataclasses.dataclass(frozen=True, eq=False)
class Everything(ByContent):
    """Every kind of field there is."""

    array: NDArray[Any]
    text: str
    number: float
    flag: bool
    pair: Pair
    fixed: tuple[int, str]
    many: tuple[Pair, ...]
    table: dict[str, NDArray[Any]]
    op: Conv | SumPool | None
    word: Literal["a", "b", 3]
    maybe: int | None = None


DTYPES = [np.float32, np.float64, np.int8, np.int16, np.int64, np.uint8, np.uint16, np.bool_]


@given(
    st.sampled_from(DTYPES),
    st.sampled_from([(0,), (3,), (2, 0, 4), (2, 3, 4)]),
    st.text(),
    st.floats(allow_nan=False),
    st.dictionaries(st.text(), st.integers(0, 9), max_size=4),
    st.sampled_from([None, Conv(channels=1, kernel=2), SumPool(size=3)]),
    st.sampled_from(["a", "b", 3]),
    st.none() | st.integers(-(2**70), 2**70),
)
def test_every_kind_of_field_comes_back(
    dtype: Any, shape: Any, text: str, number: float, table: Any, op: Any, word: Any, maybe: Any
) -> None:
    value = Everything(
        array=np.arange(np.prod(shape)).reshape(shape).astype(dtype).T,  # not contiguous
        text=text,
        number=number,
        flag=bool(maybe),
        pair=Pair(1, 2.5),
        fixed=(7, text),
        many=(Pair(3, 0.0), Pair(4, -0.0)),
        table={key: np.full((n,), n, np.int16) for key, n in table.items()},
        op=op,
        word=word,
        maybe=maybe,
    )
    back = tree.from_bytes(tree.to_bytes(value), Everything)
    assert back == value
    assert back.array.dtype == dtype
    assert isinstance(back.pair, Pair)


@dataclasses.dataclass(frozen=True, eq=False)
class Inner(ByContent):
    """An array below a name."""

    b: NDArray[Any]


@dataclasses.dataclass(frozen=True, eq=False)
class Outer(ByContent):
    """A table in which a key with a dot and a field below a key make one path."""

    x: dict[str, Inner | NDArray[Any]]


def test_paths_that_look_alike_do_not_overwrite_one_another() -> None:
    value = Outer({"a.b": np.zeros(1), "a": Inner(np.ones(2))})
    assert tree.from_bytes(tree.to_bytes(value), Outer) == value


def test_an_unwritable_field_is_named() -> None:
    value = dataclasses.make_dataclass("Odd", ["x"])(x={"deep": [1, object()]})
    with pytest.raises(TypeError, match=r"\.x\.deep\.1: cannot write a object"):
        tree.to_bytes(value)


NEURON = NeuronSpec(v_th=2.0, v_min=-1.0)
EVENTS = Events.from_columns([0, 5, 5], [0, 1, 1], [2, 0, 1], [1, 1, 2], SensorShape(2, 3, 3), stop_us=9)


@pytest.mark.parametrize(("value", "cls"), [(NEURON, NeuronSpec), (EVENTS, Events)])
def test_every_flipped_bit_and_every_cut_is_refused_with_one_line(value: Any, cls: Any) -> None:
    content = tree.to_bytes(value)
    damaged = [content[:size] for size in range(len(content))]
    for place in range(len(content)):
        damaged.append(content[:place] + bytes([content[place] ^ (1 << place % 8)]) + content[place + 1 :])
    refusals = []
    for bad in damaged:
        try:
            back = tree.from_bytes(bad, cls, where="here.safetensors")
        except DataError as error:
            refusals.append(str(error))
        else:
            assert digest(back) == digest(value)  # padding, or the same JSON spelled otherwise
    assert len(refusals) > 0.97 * len(damaged)
    assert all(message.startswith("here.safetensors ") and "\n" not in message for message in refusals)


def forged(value: dict[str, Any], arrays: dict[str, NDArray[Any]] | None = None, *, kind: str = "NeuronSpec") -> bytes:
    """A file that is whole, and says something else than the type allows."""
    described = {"schema": tree.SCHEMA, "type": kind, "value": value}
    header = {**described, "digest": digest([described, arrays or {}])}
    return save(arrays or {}, metadata={"chiploop": json.dumps(header)})  # type: ignore[no-any-return]


def neuron_fields(**changes: Any) -> dict[str, Any]:
    return {"type": "NeuronSpec", **{f"_{k}": v for k, v in dataclasses.asdict(NEURON).items()}, **changes}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (neuron_fields(_v_th="2"), "'2' is not a float"),
        (neuron_fields(_v_th=True), "True is not a float"),
        (neuron_fields(_v_th=None), "None is not a float"),
        (neuron_fields(_v_th=-1.0), "neuron.v_th = -1.0 must be positive"),
        (neuron_fields(_kind="hodgkin-huxley"), "'hodgkin-huxley' is none of"),
        (neuron_fields(_kind=["if"]), "is none of"),
        (neuron_fields(_wings=2), "NeuronSpec has no field 'wings'"),
        (neuron_fields(type="Conv"), "a 'Conv' stands where a 'NeuronSpec' belongs"),
        ([1, 2], "does not describe a NeuronSpec"),
        ("text", "does not describe a NeuronSpec"),
        (None, "does not describe a NeuronSpec"),
        ({}, "does not describe a NeuronSpec"),
    ],
)
def test_what_the_type_does_not_allow_is_refused(value: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        tree.from_bytes(forged(value), NeuronSpec, where="forged")


@pytest.mark.parametrize(
    "change",
    [
        {"_layers": [{"type": "LayerSpec"}]},
        {"_layers": 5},
        {"_layers": [[]]},
        {"_edges": [{"type": "Edge", "_source": "a"}]},
        {"_input_shape": ["2", 3, 3]},
        {"_input_shape": {"array": "nowhere"}},
        {"_layers": [{"type": "LayerSpec", "_name": "x", "_op": {"type": "os.system"}, "_weight": None}]},
        {"_layers": [{"type": "LayerSpec", "_name": "x", "_op": 3, "_weight": {"array": ".w"}}]},
    ],
)
def test_impossible_networks_are_refused(change: dict[str, Any]) -> None:
    fields = {"type": "NetworkSpec", "_layers": [], "_edges": [], "_input_shape": [1, 2, 3], "_dt_us": None}
    with pytest.raises(DataError, match="forged"):
        tree.from_bytes(forged({**fields, **change}, kind="NetworkSpec"), NetworkSpec, where="forged")


def test_files_of_other_types_and_other_makers_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "thing.safetensors"
    tree.write(path, NEURON)
    with pytest.raises(DataError, match=r"thing\.safetensors holds a 'NeuronSpec' of schema 1, expected 'NetworkSpec'"):
        tree.read(path, NetworkSpec)
    path.write_bytes(save({"x": np.zeros(3)}))
    with pytest.raises(DataError, match=r"thing\.safetensors is not a chiploop file"):
        tree.read(path, NeuronSpec)
    with pytest.raises(DataError, match=r"cannot read .*nowhere: No such file"):
        tree.read(tmp_path / "nowhere", NeuronSpec)
