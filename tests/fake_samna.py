"""A module that stands in for the vendor's samna, with a fake board behind it."""

from __future__ import annotations

from types import ModuleType, SimpleNamespace
from typing import Any

from fake_board import Board, NeuronValue, ReadNeuronValue, Spike, WriteNeuronValue

N_CORES = 9


class Struct:
    """An object of samna's configuration: fields with defaults, and no others."""

    def __init__(self, **defaults: Any) -> None:
        object.__setattr__(self, "_fields", frozenset(defaults))
        for name, value in defaults.items():
            object.__setattr__(self, name, value)

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in self._fields:
            raise AttributeError(f"no field {name!r}")
        object.__setattr__(self, name, value)


def pair(x: Any = 0, y: Any = 0) -> Struct:
    return Struct(x=x, y=y)


def core_config() -> Struct:
    shape = [Struct(feature_count=0, size=pair()) for _ in range(2)]
    return Struct(
        dimensions=Struct(
            input_shape=shape[0], output_shape=shape[1], kernel_size=1, stride=pair(1, 1), padding=pair()
        ),
        weights=[],
        biases=[],
        leak_enable=False,
        leak_internal_slow_clk_enable=False,
        threshold_high=1,
        threshold_low=-1,
        return_to_zero=False,
        neurons_initial_value=[],
        input_congestion_balancer_enable=False,
        output_decimator_enable=False,
        output_decimator_interval=0,
        monitor_enable=False,
        destinations=[Struct(enable=False, layer=0, pooling=1, feature_shift=0) for _ in range(2)],
    )


def speck_configuration() -> Struct:
    dvs = {"pass_sensor_events": True, "monitor_enable": False, "raw_monitor_enable": False, "merge": False}
    dvs |= {"on_channel": True, "off_channel": True, "mirror_diagonal": False}
    readout = {"enable": False, "internal_slow_clk": False, "readout_configuration_sel": 0, "threshold": 0}
    readout |= {"low_pass_filter_disable": False, "low_pass_filter32_not16": False, "monitor_enable": False}
    return Struct(
        dvs_layer=Struct(
            pooling=pair(1, 1),
            origin=pair(),
            cut=pair(127, 127),
            mirror=pair(False, False),
            destinations=[Struct(enable=False, layer=0) for _ in range(2)],
            **dvs,
        ),
        dvs_filter=Struct(enable=False, threshold=0),
        cnn_layers=[core_config() for _ in range(N_CORES)],
        readout=Struct(readout_pin_monitor_enable=False, **readout),
        factory_config=Struct(),
    )


class Node:
    board: Board

    def write(self, orders: list[Any]) -> None:
        self.board.write(orders)

    def get_n_events(self, n: int, timeout: int) -> list[Any]:
        return self.board.read(timeout)


class Graph:
    def sequential(self, nodes: list[Any]) -> None:
        (node,) = (one for one in nodes if isinstance(one, Node))
        ((_, node.board),) = (one for one in nodes if isinstance(one, tuple))

    def start(self) -> None:
        pass

    def stop(self) -> None:
        pass


def fake_samna(board: Board) -> ModuleType:
    """Return a module like samna to which one board is connected."""
    samna = ModuleType("samna")
    opened: list[Board] = []
    info = SimpleNamespace(device_type_name=board.name)

    def open_device(wanted: Any) -> Board:
        assert wanted is info
        opened.append(board)
        return board

    samna.device = SimpleNamespace(
        get_unopened_devices=lambda: [] if opened or board.is_unplugged else [info],
        open_device=open_device,
        close_device=opened.remove,
    )
    samna.speck2f = SimpleNamespace(
        configuration=SimpleNamespace(SpeckConfiguration=speck_configuration),
        validate_configuration=lambda config: (len(config.cnn_layers) == N_CORES, "nine cores, please"),
        event=SimpleNamespace(
            Spike=Spike, ReadNeuronValue=ReadNeuronValue, WriteNeuronValue=WriteNeuronValue, NeuronValue=NeuronValue
        ),
    )
    samna.BasicSourceNode_speck2f_event_input_event = Node
    samna.BasicSinkNode_speck2f_event_output_event = Node
    samna.graph = SimpleNamespace(EventFilterGraph=Graph)
    return samna
