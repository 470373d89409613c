"""The commands that show memory, look for leaks and estimate. Reading a line is pure."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

from stepdbg.client.store import View
from stepdbg.commands.available import needs_live
from stepdbg.commands.command import Argument, Command
from stepdbg.commands.suggesting import module_names
from stepdbg.errors import UsageError
from stepdbg.protocol.whatif import OPTIMIZERS, GetWhatIf, WhatIfKind

FORM = "what-if zero_grad, what-if optimizer adamw, what-if batch 2x, what-if checkpoint net.h"

_FACTOR = re.compile(r"(?:([0-9]{1,6}(?:\.[0-9]{1,6})?)x|x([0-9]{1,6}(?:\.[0-9]{1,6})?))", re.ASCII)

LEAKS = ("watch", "unwatch", "off")


def read_what_if(text: str) -> GetWhatIf:
    """What `what-if TEXT` asks for. Raises UsageError with one line that says what is wrong."""
    words = text.split()
    if not words:
        raise UsageError(f"what-if needs something to estimate: {FORM}")
    what, *rest = words
    kinds = [kind.value for kind in WhatIfKind]
    if what not in kinds:
        near = difflib.get_close_matches(what, kinds, n=1)
        instead = f": did you mean {near[0]}?" if near else f": one of {', '.join(kinds)}"
        raise UsageError(f"what-if: nothing is estimated for {what!r}{instead}")
    kind = WhatIfKind(what)
    if kind is WhatIfKind.ZERO_GRAD:
        if rest:
            raise UsageError(f"what-if zero_grad takes nothing else, so not {rest[0]!r}")
        return GetWhatIf(0, kind)
    if kind is WhatIfKind.OPTIMIZER:
        return _optimizer(rest)
    if len(rest) != 1:
        form = "what-if batch 2x, what-if batch 64" if kind is WhatIfKind.BATCH else "what-if checkpoint net.h"
        raise UsageError(f"what-if {what} needs one thing: {form}")
    return _batch(rest[0]) if kind is WhatIfKind.BATCH else GetWhatIf(0, kind, rest[0])


def _optimizer(words: list[str]) -> GetWhatIf:
    known = ", ".join(OPTIMIZERS)
    if not words:
        raise UsageError(f"what-if optimizer needs one of {known}")
    name, *options = (word.lower() for word in words)
    if name not in OPTIMIZERS:
        raise UsageError(f"what-if optimizer: {words[0]!r} is not estimated: one of {known}")
    for option in options:
        if option not in OPTIMIZERS[name]:
            there = " and ".join(OPTIMIZERS[name])
            instead = f"{there} {'changes' if len(OPTIMIZERS[name]) == 1 else 'change'} it" if there else "nothing does"
            raise UsageError(f"what-if optimizer {name}: {option!r} does not change what it holds: {instead}")
    return GetWhatIf(0, WhatIfKind.OPTIMIZER, name, tuple(dict.fromkeys(options)))


def _batch(word: str) -> GetWhatIf:
    factor = _FACTOR.fullmatch(word)
    if factor is not None and float(factor[1] or factor[2]) > 0:
        return GetWhatIf(0, WhatIfKind.BATCH, factor=float(factor[1] or factor[2]))
    if re.fullmatch(r"[0-9]{1,9}", word, re.ASCII) and int(word):
        return GetWhatIf(0, WhatIfKind.BATCH, size=int(word))
    raise UsageError(f"what-if batch: {word!r} is no size: 2x is twice the present batch, 64 a batch of 64")


def suggest(text: str, view: View) -> Iterable[str]:
    """What has been begun may become."""
    words = [
        "zero_grad",
        *(f"optimizer {' '.join((name, *options))}" for name, options in OPTIMIZERS.items()),
        "batch 2x",
        *(f"checkpoint {path}" for path in _modules(view)),
    ]
    return [word for word in words if word.startswith(text)]


def _modules(view: View) -> list[str]:
    return [path for path in module_names(view) if "." in path]


MEMORY = (
    Command(
        "memory-view",
        "Memory",
        "Show what each module saved for backward, what is in each gradient, and the largest other tensors.",
        lambda host, _argument: host.memory.show(),
        keys=("M",),
        aliases=("mem",),
    ),
    Command(
        "leaks",
        "Memory",
        "Show what keeps graphs and tensors of earlier iterations alive; leaks watch: in free runs too.",
        lambda host, argument: host.leaks.show(argument),
        keys=("L",),
        argument=Argument(
            "what", "watch: count in free runs too; unwatch: not there; off: not at all", LEAKS, required=False
        ),
        available=needs_live,
    ),
    Command(
        "what-if",
        "Memory",
        "Estimate memory: what-if zero_grad, optimizer adamw, batch 2x, checkpoint net.h.",
        lambda host, argument: host.leaks.what_if(read_what_if(argument)),
        aliases=("whatif",),
        argument=Argument("estimate", f"as in {FORM}", check=read_what_if, suggest_in=suggest),
        available=needs_live,
    ),
)
