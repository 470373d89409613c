"""What Python's garbage collector knows, asked in such a way that no other thread of the script can notice.

Between two bytecodes another thread may go on. Whoever then still holds the list of all objects holds a tuple that is
only half built there: `tuple(generator)` makes its result before it has asked for the items, and raises SystemError
("bad argument to internal function") when it cannot resize it, since it is referred to twice. The documentation of
`gc.get_referrers` warns of such objects. So from when they are listed until the list is emptied there is no call in
bytecode and no jump, the only places where CPython lets another thread in: the work is done by iterators in C, that
were put together before, while a slice is assigned to.
"""

from __future__ import annotations

import gc
from collections.abc import Iterable, Sequence
from itertools import chain, compress, starmap
from typing import Any


def alive(kinds: Iterable[type[Any]]) -> list[Any]:
    """Every object the collector knows whose class is exactly one of `kinds`, tuples excepted. 5–30 ms. Holds them: let
    go of it soon.
    """
    wanted = {id(kind) for kind in kinds if kind is not tuple}  # by id: a metaclass may have a __hash__ in Python
    everything: list[list[Any]] = []
    found: list[Any] = []
    things, again = chain.from_iterable(everything), chain.from_iterable(everything)
    picked = compress(things, map(wanted.__contains__, map(id, map(type, again))))
    listed = starmap(gc.get_objects, ((),))
    everything[:] = listed
    found[:] = picked
    del everything[0][:]  # not only the list: `again` has it too
    return found


def subclasses(kind: type[Any]) -> set[type[Any]]:
    """The class and all that derive from it. Instances are told by their class, past what a proxy says of itself."""
    found = {kind}
    waiting = [kind]
    while waiting:
        for child in type.__subclasses__(waiting.pop()):
            if child not in found:
                found.add(child)
                waiting.append(child)
    return found


def referrers(things: Sequence[Any]) -> list[tuple[int, type[Any], list[Any]]]:
    """Id, class, and what it refers to, of each object the collector knows that refers to one of `things`. One look at
    all objects. Holds what they refer to, but none of them.
    """
    holders: list[list[Any]] = []
    found: list[tuple[int, type[Any], list[Any]]] = []
    first, second, third = (chain.from_iterable(holders) for _ in range(3))
    told = zip(map(id, first), map(type, second), map(gc.get_referents, third), strict=False)
    listed = starmap(gc.get_referrers, (tuple(things),))
    holders[:] = listed
    found[:] = told
    del holders[0][:]
    return found
