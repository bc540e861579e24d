"""The device `speck`: a board of the Speck family behind the device protocol."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType

from chiploop.chip.device import DEVICES, BatchTrace, DeviceInfo, Monitor, Trace
from chiploop.chip.dvs import DvsState
from chiploop.chip.hardware.board_limits import slow_clock_hz
from chiploop.chip.hardware.board_player import BoardProgram, batch_of, play, sample_of, trace_of
from chiploop.chip.hardware.board_session import BoardSession
from chiploop.chip.hardware.conversation import Conversation
from chiploop.chip.hardware.readout_spread import spread_readout
from chiploop.chip.hardware.samna_session import SamnaSession
from chiploop.chip.hardware.speck_config import speck_config
from chiploop.chip.profile import ChipProfile, read_profile
from chiploop.chip.program import Program
from chiploop.chip.readout import Readout
from chiploop.chip.virtual import require_no_spikes, require_runnable
from chiploop.errors import DeviceError, DeviceLostError
from chiploop.events.types import Events

_NO_MONITOR = Monitor()
MAX_SPAN_US = (1 << 32) - 1
"""Board time has 32 bits."""


@DEVICES.register("speck")
class SpeckDevice:
    """A Speck board through the vendor's samna (extra `speck`); never tried on silicon by this project.

    Recordings are played in real time: events are let in when they are due, and output events carry the board's times,
    which lie later by what the chip took. The sensor layer of a program is applied on the host. `reset` writes the
    configuration, and zero into every neuron, and reads some back. Two runs in a row go on from the same states; the
    slow clock of biases starts anew with each run, at a phase that nobody controls. `run_batch` puts the states of
    `run` back.

    The board reports the spikes of all layers unless `monitor_layers` names fewer (output layers always are); counters
    are derived from them. Potentials can be read at the end of a run; those of several windows need
    `slow_potentials`, which stops at every edge. `readout` turns on the chip's readout layer: output channels are
    spread for it and gathered again, and `pins` holds what it said. `session` is the way to the board, samna where it
    is None. A board that is silent for `timeout_ms` raises DeviceTimeoutError, one that is gone DeviceLostError (load
    again to reconnect), one that talks nonsense ReadoutError.
    """

    def __init__(
        self,
        *,
        session: BoardSession | None = None,
        profile: ChipProfile | str = "speck2f",
        timeout_ms: int = 5_000,
        monitor_layers: Sequence[str] | None = None,
        slow_potentials: bool = False,
        readout: Readout | None = None,
    ) -> None:
        if timeout_ms < 1:
            raise DeviceError(f"timeout_ms = {timeout_ms} must be at least 1")
        self._session: BoardSession = SamnaSession() if session is None else session
        self._profile = read_profile(profile) if isinstance(profile, str) else profile
        self._timeout_ms = timeout_ms
        self._monitor_layers = None if monitor_layers is None else tuple(monitor_layers)
        self._slow_potentials = slow_potentials
        self._readout = readout
        self._board: BoardProgram | None = None
        self._pins: tuple[tuple[int, int], ...] = ()

    @property
    def info(self) -> DeviceInfo:
        """What the device is; it observes potentials of windows only with `slow_potentials`."""
        seen = {"counts", "spikes", *(("potentials",) if self._slow_potentials else ())}
        return DeviceInfo(name="speck", kind="board", observes=frozenset(seen), deterministic=False, elsewhere=True)

    @property
    def pins(self) -> tuple[tuple[int, int], ...]:
        """(time in us, class) whenever the readout raised its pins in the last run."""
        return self._pins

    def load(self, program: Program) -> None:
        """Give the board a program and reset it; opens the board. Raises DeviceError for what a board cannot do."""
        self._board = None
        bare = dataclasses.replace(program, input_shape=program.heard_shape, dvs=None)
        spread = None if self._readout is None else spread_readout(bare, self._profile)
        there = bare if spread is None else spread.program
        monitor = None
        if self._monitor_layers is not None:
            monitor = [*self._monitor_layers, *(there.core(number).layer for number in there.outputs)]
        config = speck_config(there, self._profile, monitor=monitor, readout=self._readout)
        self._session.open()
        self._board = BoardProgram(
            here=program,
            there=there,
            spread=spread,
            configuration=config["configuration"],
            talk=Conversation(self._session, there.cores, timeout_ms=self._timeout_ms),
            clock_hz=slow_clock_hz(there, self._readout),
            dvs_state=None if program.dvs is None else DvsState(program.dvs),
        )
        self.reset()

    def run(self, events: Events, *, monitor: Monitor | None = None) -> Trace:
        """Play one stream on from the present state."""
        board = self._ready()
        monitor = monitor or _NO_MONITOR
        self._require(board, events, monitor)
        with self._careful(board):
            board.is_fresh = False
            heard = play(board, events, monitor)
        self._pins = tuple(heard.pins)
        return trace_of(board, events, monitor, heard)

    def run_batch(self, batch: Sequence[Events], *, monitor: Monitor | None = None) -> BatchTrace:
        """Play every stream from reset state, one after the other; the states of `run` are put back."""
        board = self._ready()
        monitor = monitor or _NO_MONITOR
        require_no_spikes(monitor)
        for sample, events in enumerate(batch):
            self._require(board, events, monitor, where=f"stream {sample} of the batch: ")
        samples = []
        with self._careful(board):
            kept = None if board.is_fresh else (board.all_states(), copy.deepcopy(board.dvs_state))
            for events in batch:
                self.reset()
                board.is_fresh = False
                samples.append(sample_of(board, events, monitor))
            if batch:
                self.reset()
            if kept is not None:
                board.talk.put_states(kept[0])
                board.dvs_state, board.is_fresh = kept[1], False
        return batch_of(board.here, monitor, samples)

    def reset(self) -> None:
        """Bring every state to zero, and make sure of it; also what a failed run left behind is gone then."""
        board = self._held()
        with self._careful(board):
            self._session.set_slow_clock(None)
            self._session.apply(board.configuration)
            board.talk.begin()
            board.talk.zero_states()
        if board.dvs_state is not None:
            board.dvs_state.reset()
        board.is_fresh, board.failed = True, ""

    def close(self) -> None:
        """Forget the program and give the board back; the next `load` opens it again."""
        self._board = None
        self._session.close()

    def __enter__(self) -> SpeckDevice:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _held(self) -> BoardProgram:
        if self._board is None:
            raise DeviceError("the board holds no program: call load(program) first")
        return self._board

    def _ready(self) -> BoardProgram:
        board = self._held()
        if board.failed:
            raise DeviceError(f"the board's states are not known since it failed ({board.failed}): call reset() first")
        return board

    @contextmanager
    def _careful(self, board: BoardProgram) -> Iterator[None]:
        """After an error the states are unknown; after a loss there is no program any more, and the board is let go."""
        try:
            yield
        except DeviceLostError:
            self.close()
            raise
        except BaseException as error:  # an interrupted run leaves events on the chip as well
            board.failed = str(error) or type(error).__name__
            raise

    def _require(self, board: BoardProgram, events: Events, monitor: Monitor, *, where: str = "") -> None:
        require_runnable(board.here, events, monitor, where=where)
        if events.duration_us > MAX_SPAN_US:
            raise DeviceError(
                f"{where}{events.duration_us} us are more than the board's 32-bit clock; cut the recording"
            )
        if monitor.potentials and monitor.n_windows > 1:
            if not self._slow_potentials:
                raise DeviceError(
                    f"{where}potentials at {monitor.n_windows} edges: a board shows them when it has come to rest, at "
                    "the end of a run; ask for one window, or open the device with slow_potentials=True"
                )
            if board.clock_hz is not None:
                raise DeviceError(
                    f"{where}reading potentials between windows would stop the slow clock; ask for one window"
                )
        for layer in (*monitor.counts, *monitor.spikes):
            if layer not in board.monitored:
                raise DeviceError(f"{where}the board does not report layer {layer!r}; add it to monitor_layers")
