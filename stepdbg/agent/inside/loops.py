"""Which loop of the code a frame is in, and whether that loop writes tensors in place: read from its bytecode.

An optimizer that works parameter by parameter has a loop with in-place operations in it; what goes before (making the
state, norms over all gradients) has loops without. Nothing of the script's runs for this, and nothing is changed.
"""

from __future__ import annotations

import dis
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import CodeType, FrameType

_AT_ONCE = ("_foreach", "_fused")
"""What names of operations on whole lists of tensors begin with."""

_NO_WRITES = frozenset({"requires_grad_", "detach_", "_"})
"""Names that end as those of in-place operations do, and write no values."""

_SHUFFLES = ("SWAP", "ROT_", "COPY", "CACHE", "DUP_")


@dataclass(frozen=True)
class Loop:
    """One loop of one code object: instructions from `head` to `end`."""

    code: CodeType
    head: int
    end: int
    writes: bool
    """Whether anything in it looks like an in-place operation on a tensor."""


class Loops:
    """Remembers the loops of code that has been looked at. Some 0.1 ms for each code object, once."""

    def __init__(self) -> None:
        self._known: dict[CodeType, Sequence[Loop]] = {}
        self._at_once: dict[CodeType, bool] = {}

    def around(self, frame: FrameType | None, outermost: FrameType) -> Loop | None:
        """The innermost loop that `frame` is in, else the one that its caller is in, and so on up to `outermost`."""
        while frame is not None and frame is not outermost:
            code = frame.f_code
            if code not in self._known:
                self._known[code] = tuple(_loops(code))
            inside = [loop for loop in self._known[code] if loop.head <= frame.f_lasti <= loop.end]
            if inside:
                return max(inside, key=lambda loop: loop.head)
            frame = frame.f_back
        return None

    def at_once(self, frame: FrameType) -> bool:
        """Whether the code of `frame` has operations on whole lists of tensors."""
        code = frame.f_code
        found = self._at_once.get(code)
        if found is None:
            found = self._at_once[code] = any(name.startswith(_AT_ONCE) for name in code.co_names)
        return found


def _loops(code: CodeType) -> Iterator[Loop]:
    instructions = list(dis.get_instructions(code))
    ends: dict[int, int] = {}
    for at in instructions:
        jumps = at.opcode in dis.hasjrel or at.opcode in dis.hasjabs
        if jumps and isinstance(at.argval, int) and at.argval <= at.offset and "NO_INTERRUPT" not in at.opname:
            ends[at.argval] = max(at.offset, ends.get(at.argval, 0))
    for head, end in ends.items():
        yield Loop(code, head, end, _writes([at for at in instructions if head <= at.offset <= end]))


def _writes(body: Sequence[dis.Instruction]) -> bool:
    variables = set(_variables(body))
    for number, at in enumerate(body):
        name = at.argval if isinstance(at.argval, str) else ""
        if at.opname in ("LOAD_METHOD", "LOAD_ATTR"):
            if name.endswith("_") and not name.endswith("__") and name not in _NO_WRITES:
                return True
        elif at.opname == "STORE_ATTR" and name == "data":
            return True
        elif at.opname.startswith("INPLACE_") or (at.opname == "BINARY_OP" and at.argrepr.endswith("=")):
            stored = next((b for b in body[number + 1 :] if not b.opname.startswith(_SHUFFLES)), None)
            if stored is not None and not variables.isdisjoint(_names(stored)):
                return True
    return False


def _variables(body: Sequence[dis.Instruction]) -> Iterator[str]:
    """The variables of the `for` at the head of a loop."""
    number = next((n for n, at in enumerate(body) if at.opname == "FOR_ITER"), len(body))
    for at in body[number + 1 :]:
        if not at.opname.startswith(("STORE_", "UNPACK_")):
            return
        yield from _names(at)


def _names(at: dis.Instruction) -> Sequence[str]:
    if not at.opname.startswith("STORE_"):
        return ()
    values = at.argval if isinstance(at.argval, tuple) else (at.argval,)
    return [value for value in values if isinstance(value, str)]
