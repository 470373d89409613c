"""What the debugger itself takes: the bytes of its tensors, counted, and of everything else, estimated."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

from torch import Tensor

if TYPE_CHECKING:
    from stepdbg.agent.compare.snapshots import Snapshots
    from stepdbg.agent.tracker import Tracker

SAMPLE = 100
"""Items of a long container that stand for all."""

MOST = 50_000
"""Objects that an estimate looks at, at most."""

_CONTAINERS = (list, tuple, set, frozenset, deque)


def copied_bytes(tracker: Tracker, snapshots: Snapshots) -> int:
    """Bytes of the copies of earlier values, as each keeps count of its own: no pass over them."""
    return tracker.before.nbytes + snapshots.nbytes - tracker.before.shared_bytes(snapshots)


def own_tensors(tracker: Tracker, snapshots: Snapshots | None) -> Iterator[Tensor]:
    """Every tensor that we keep from one stop to the next; those that are shared more than once."""
    yield from tracker.before.tensors()
    if snapshots is not None:
        yield from snapshots.tensors()
    yield from tracker.watched.outputs.tensors()


def estimate(roots: Iterable[Any]) -> int:
    """About how many bytes these objects of ours take, with all that they hold, without tensors and without code.

    Of a long container a sample is measured. Objects of the script's are neither entered nor counted. At most MOST
    objects are looked at: some 30 ms.
    """
    meter = _Meter()
    return round(sum(meter.size(root, 0) for root in roots))


class _Meter:
    def __init__(self) -> None:
        self._seen: set[int] = set()
        self._left = MOST

    def size(self, thing: Any, depth: int) -> float:
        kind = type(thing)
        if kind in (int, float, bool, type(None)):
            return 0.0 if kind in (bool, type(None)) else 28.0
        if id(thing) in self._seen or self._left <= 0 or depth > 12 or issubclass(kind, Tensor):
            return 0.0
        own = kind.__module__.startswith("stepdbg.")
        if not own and kind not in _CONTAINERS and kind not in (dict, str, bytes, bytearray):
            return float(sys.getsizeof(thing)) if kind.__module__ == "array" else 0.0
        self._seen.add(id(thing))
        self._left -= 1
        total = float(sys.getsizeof(thing))
        if kind is dict:
            total += self._sampled(thing.keys(), len(thing), depth) + self._sampled(thing.values(), len(thing), depth)
        elif kind in _CONTAINERS or isinstance(thing, tuple):
            total += self._sampled(thing, len(thing), depth)
        if own:
            held = getattr(thing, "__dict__", None)
            if held:
                total += sys.getsizeof(held) + self._sampled(held.values(), len(held), depth)
            for name in _slots(kind):
                total += self.size(getattr(thing, name, None), depth + 1)
        return total

    def _sampled(self, items: Any, count: int, depth: int) -> float:
        """Of `count` items: all of a few, else evenly from the first ones."""
        if count <= SAMPLE:
            return sum(self.size(item, depth + 1) for item in list(items))
        step = count // SAMPLE
        measured = [self.size(item, depth + 1) for item in islice(items, 0, step * SAMPLE, step)]
        return sum(measured) * count / len(measured)


def _slots(kind: type[Any]) -> Iterator[str]:
    for base in kind.__mro__:
        names = base.__dict__.get("__slots__", ())
        for name in (names,) if isinstance(names, str) else names:
            if not name.startswith("__"):
                yield name
