"""What memory would be if something were done differently: estimates, without doing it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any, ClassVar


class WhatIfKind(str, Enum):
    """What is done differently."""

    ZERO_GRAD = "zero_grad"
    OPTIMIZER = "optimizer"
    BATCH = "batch"
    CHECKPOINT = "checkpoint"


OPTIMIZERS: dict[str, tuple[str, ...]] = {
    "adam": ("amsgrad",),
    "adamw": ("amsgrad",),
    "sgd": ("momentum",),
    "rmsprop": ("momentum", "centered"),
    "adagrad": (),
}
"""Optimizers whose state can be estimated, and the options that change how much it is."""


@dataclass(frozen=True)
class EstimateRow:
    """One number of an estimate."""

    label: str
    nbytes: int | None
    """None: cannot be told; `remark` says why."""
    remark: str = ""


@dataclass(frozen=True)
class Estimate:
    """What it would be. Every number is an estimate from what is there at this stop, and is to be called one."""

    stop: int
    kind: WhatIfKind
    title: str
    """"zero_grad()", "AdamW instead of SGD", "a batch of 64 instead of 32", "checkpoint(net.h)"."""
    rows: tuple[EstimateRow, ...]
    answer: str
    """One sentence, with "estimated" in it."""
    basis: str
    """What it is estimated from, in one or two sentences."""
    note: str = ""
    """What is missing, or what it does not count."""


@dataclass(frozen=True)
class GetWhatIf:
    """An estimate. Cost: as of GetMemory, for BATCH and CHECKPOINT a walk over the live graph; no pass over data."""

    RESULT: ClassVar[type[Any]] = Estimate
    id: int
    kind: WhatIfKind
    name: str = ""
    """OPTIMIZER: one of `OPTIMIZERS`; CHECKPOINT: a module's path."""
    options: tuple[str, ...] = ()
    """OPTIMIZER: as in `OPTIMIZERS`."""
    factor: float | None = None
    """BATCH: so many times the present batch …"""
    size: int | None = None
    """… or a batch of that size."""
