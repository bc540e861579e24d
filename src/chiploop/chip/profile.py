"""A chip's limits and prices: pure data, every number with its source."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Source = Literal["datasheet", "paper", "measured", "assumed"]
Positive = Annotated[int, Field(ge=1)]


class CoreProfile(BaseModel):
    """Memory of one core, in words."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    kernel_words: Positive
    neuron_words: Positive
    bias_words: Annotated[int, Field(ge=0)]


class ChipProfile(BaseModel):
    """One chip; absent limits (None) do not bind. `sources` names where each field's numbers come from."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str
    revision: str
    cores: tuple[CoreProfile, ...]
    unlimited_cores: bool = False
    weight_bits: Positive = 8
    state_bits: Positive = 16
    spikes_per_update: Literal["one", "all"] = "one"
    neurons: tuple[Literal["if", "lif"], ...] = ("if",)
    max_kernel: Positive | None = None
    max_input_side: Positive | None = None
    max_output_side: Positive | None = None
    max_channels: Positive | None = None
    strides: tuple[Positive, ...] | None = None
    pools: tuple[Positive, ...] | None = None
    max_padding: Annotated[int, Field(ge=0)] | None = None
    fan_out: Positive | None = None
    readout_classes: Positive | None = None
    sources: dict[str, Source] = Field(default_factory=dict)
    notes: dict[str, str] = Field(default_factory=dict)


def read_profile(name_or_path: str | Path) -> ChipProfile:
    """Read a shipped profile by name, or a user's TOML file by path."""
    raise AssertionError("written by the chip room")
