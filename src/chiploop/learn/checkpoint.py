"""A training run on disk: weights, optimiser and history, written whole after every epoch."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from chiploop import atomic
from chiploop.digest import digest
from chiploop.errors import DataError, TrainingError


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """What one epoch did: mean loss, training accuracy, validation score, seconds in all and in the chip.

    `skipped` batches are in none of the means.
    """

    epoch: int
    loss: float
    train_accuracy: float
    score: float
    seconds: float
    chip_seconds: float
    synops_per_sample: float
    skipped: int = 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Checkpoint:
    """All that training needs to go on after `len(history)` epochs. `identity` names what is being trained."""

    identity: str
    weights: dict[str, Tensor]
    best: dict[str, Tensor]
    moments: dict[str, Tensor]
    history: tuple[Epoch, ...]
    best_epoch: int

    def write(self, path: Path) -> None:
        """Write the file atomically."""
        groups = {"weights": self.weights, "best": self.best, "moments": self.moments}
        tensors = {f"{group}/{k}": v.detach().contiguous() for group, table in groups.items() for k, v in table.items()}
        header: dict[str, Any] = {
            "identity": self.identity,
            "history": [asdict(epoch) for epoch in self.history],
            "best_epoch": self.best_epoch,
        }
        header["digest"] = _digest(header, tensors)
        atomic.write_bytes(path, save_tensors(tensors, metadata={"chiploop": json.dumps(header)}))


def read_checkpoint(path: Path, identity: str) -> Checkpoint | None:
    """Read a checkpoint; None when there is none. Raises TrainingError when it belongs to another training."""
    content = read_content(path)
    return None if content is None else parse_checkpoint(content, identity, path)


def read_content(path: Path) -> bytes | None:
    """Read a checkpoint's bytes, as they can be sent to other processes; None when there is none."""
    try:
        return path.read_bytes() if path.exists() else None
    except OSError as error:
        raise DataError(f"cannot read checkpoint {path}: {error.strerror or error}") from error


def parse_checkpoint(content: bytes, identity: str, path: Path) -> Checkpoint:
    """Return the checkpoint whose file, `path`, has this content; raises as `read_checkpoint` does."""
    try:
        tensors = load_tensors(content)
        size = int.from_bytes(content[:8], "little")
        header = json.loads(json.loads(content[8 : 8 + size])["__metadata__"]["chiploop"])
        promised = header.pop("digest")
        if promised != _digest(header, tensors):
            raise ValueError("its content does not have the digest that it was written with")
        history = tuple(Epoch(**epoch) for epoch in header["history"])
    except (SafetensorError, LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise DataError(f"checkpoint {path} is damaged ({error}); delete it to train from the start") from error
    if header["identity"] != identity:
        raise TrainingError(
            f"checkpoint {path} belongs to another training (other recipe, seed, data or version); "
            "name another --out or delete it"
        )

    def group(name: str) -> dict[str, Tensor]:
        return {key[len(name) + 1 :]: value for key, value in tensors.items() if key.startswith(name + "/")}

    return Checkpoint(
        identity=identity,
        weights=group("weights"),
        best=group("best"),
        moments=group("moments"),
        history=history,
        best_epoch=int(header["best_epoch"]),
    )


def _digest(header: dict[str, Any], tensors: dict[str, Tensor]) -> str:
    """Return what tells a whole file from a damaged one (safetensors itself has no checksum)."""
    return digest([header, {name: tensor.cpu().numpy() for name, tensor in tensors.items()}])


def adam_moments(optimizer: torch.optim.Adam, names: list[str]) -> dict[str, Tensor]:
    """Return Adam's state by parameter name."""
    moments = {}
    for name, parameter in zip(names, optimizer.param_groups[0]["params"], strict=True):
        for key, value in optimizer.state[parameter].items():
            moments[f"{name}/{key}"] = value.detach().clone()
    return moments


def restore_adam(optimizer: torch.optim.Adam, names: list[str], moments: dict[str, Tensor]) -> None:
    """Put Adam's state back."""
    for name, parameter in zip(names, optimizer.param_groups[0]["params"], strict=True):
        prefix = f"{name}/"
        state = {key[len(prefix) :]: value.clone() for key, value in moments.items() if key.startswith(prefix)}
        if state:
            optimizer.state[parameter] = state
