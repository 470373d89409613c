"""Which parameters a graph reaches, what is special about each, and why those that it does not reach are not.

Pure reading, and everything when first asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from functools import cached_property
from typing import Any

from torch import Tensor

from stepdbg.agent.calls import Calls
from stepdbg.agent.causes import Causes, Recorded, Tree
from stepdbg.agent.naming import Named, Names
from stepdbg.protocol.graph import MARKS, Reach


def _nothing() -> Collection[int]:
    return ()


class Reaches:
    """One recorded graph against what is named at a stop. Holds the names: keep it no longer than the stop.

    `iteration`: the one that the graph belongs to. `kept`: storages that its nodes keep now, as `calls.storage_of`
    numbers them. `reruns`: sequence numbers of its nodes that run a forward again (CheckpointFunctionBackward).
    `what`: what the graph's root is called ("loss", "output", "gradient").
    """

    def __init__(
        self,
        names: Names,
        record: Recorded,
        calls: Calls,
        *,
        iteration: int,
        kept: Callable[[], Collection[int]] = _nothing,
        reruns: Collection[int] = (),
        what: str = "loss",
    ) -> None:
        self._names, self._record, self._calls = names, record, calls
        self._iteration, self._kept, self._reruns, self._what = iteration, kept, reruns, what

    def rows(self) -> tuple[Reach, ...]:
        """Root modules first, then tensors that no module holds, then optimizers; those without parameters left out."""
        rows = []
        named: set[int] = set()
        for key, (name, module) in self._names.modules.items():
            under = self._tree.roots[key]
            named.update(under)
            rows.append(self._row(name, type(module).__name__, under, "module"))
        loose = [id(p.tensor) for p in self._names.parameters if id(p.tensor) not in named]
        rows.append(self._row("other tensors", "", loose, "module"))
        for name, optimizer in self._names.optimizers.values():
            held = dict.fromkeys(id(t) for _, _, t in held_by(optimizer))
            rows.append(self._row(name, type(optimizer).__name__, held, "optimizer"))
        return tuple(row for row in rows if row.total or row.frozen)

    def marks(self, key: int) -> tuple[str, ...]:
        """Marks of the tensor with this id, in the order of MARKS."""
        return self._marks.get(key, ())

    def counts(self) -> tuple[tuple[str, int], ...]:
        """How many parameters have each mark; marks that none has are left out."""
        counts = dict.fromkeys(MARKS, 0)
        for marks in self._marks.values():
            for mark in marks:
                counts[mark] += 1
        return tuple((mark, count) for mark, count in counts.items() if count)

    def cause(self, key: int) -> str:
        """Why the tensor with this id is not reached; of a reached one, why no optimizer holds it, where that is known.

        Empty where there is nothing to tell, as for a frozen one.
        """
        if key not in self._told:
            named = self._by_id.get(key)
            self._told[key] = "" if named is None else self._find(named)
        return self._told[key]

    def unreached(self) -> list[Named]:
        """The parameters that require grad and are not reached, in the order of names."""
        return [p for p in self._names.parameters if "unreached" in self.marks(id(p.tensor))]

    # ── inside ──────────────────────────────────────────────────────────────────────────────────────────────

    def _find(self, named: Named) -> str:
        marks = self.marks(id(named.tensor))
        if "frozen" in marks:
            return ""
        replaced = self._replaced.get(id(named.tensor), "")
        if "reached" in marks:
            return replaced
        return replaced if replaced and id(named.tensor) not in self._tree.holders else self._causes.of(named)

    def _row(self, name: str, kind: str, keys: Iterable[int], what: str) -> Reach:
        reached = frozen = total = 0
        missing = []
        for key in keys:
            if key not in self._by_id:
                continue
            marks = self.marks(key)
            if "frozen" in marks:
                frozen += 1
                continue
            total += 1
            reached += "reached" in marks
            if "unreached" in marks:
                missing.append(key)
        causes = {self.cause(key) for key in missing}
        return Reach(name, kind, reached, total, frozen, what, causes.pop() if len(causes) == 1 else "")

    @cached_property
    def _by_id(self) -> dict[int, Named]:
        return self._names.by_id()

    @cached_property
    def _tree(self) -> Tree:
        return Tree(self._names)

    @cached_property
    def _told(self) -> dict[int, str]:
        return {}

    @cached_property
    def _marks(self) -> dict[int, tuple[str, ...]]:
        leaves, owners = self._record.leaves, self._names.owners
        found = {}
        for key, named in self._by_id.items():
            leaf, owned = leaves.get(key), key in owners
            frozen = not named.tensor.requires_grad
            holds = {
                "reached": leaf is not None,
                "unreached": leaf is None and not frozen,
                "unowned": leaf is not None and not owned and not frozen,
                "unused": leaf is None and owned and not frozen,
                "shared": bool(named.aliases) or (leaf is not None and leaf.uses > 1),
                "frozen": frozen,
            }
            found[key] = tuple(mark for mark in MARKS if holds[mark])
        return found

    @cached_property
    def _causes(self) -> Causes:
        newest = self._record.seqs[-1] if self._record.seqs else None
        return Causes(
            self._names,
            self._tree,
            self._record,
            self._calls.of(self._iteration, newest),
            line_of=self._calls.line_of,
            kept=self._kept,
            reruns=self._reruns,
            what=self._what,
        )

    @cached_property
    def _replaced(self) -> dict[int, str]:
        """By id, what to say of parameters put into a module after the optimizer was built, and of those before."""
        found = {}
        for old, new, title in _replacements(self._names, self._tree, set(self._record.leaves)):
            name = self._by_id[old].shown
            found[new] = f"likely made after {title} was built: that still holds {name} in its place"
            found[old] = f"likely replaced after {title} was built: {self._by_id[new].shown} is in its place"
        return found


def held_by(optimizer: Any) -> list[tuple[int, int, Tensor]]:
    """(group, position, tensor) of all that an optimizer holds."""
    return [
        (number, position, tensor)
        for number, group in enumerate(getattr(optimizer, "param_groups", ()))
        for position, tensor in enumerate(group.get("params", ()))
        if isinstance(tensor, Tensor)
    ]


def _replacements(names: Names, tree: Tree, reached: set[int]) -> list[tuple[int, int, str]]:
    """(old, new, optimizer) where an optimizer holds a tensor that is nobody's in the place of one that it should hold.

    By place among neighbours that it does hold; where it holds none, by the shapes of all; else by a shape that only
    one pair has. All of these are guesses.
    """
    known = names.by_id()
    found = []
    free = {
        key: None for root in tree.roots.values() for key in root if key not in names.owners and _trains(known.get(key))
    }
    for title, optimizer in names.optimizers.values():
        groups: dict[int, list[Tensor]] = {}
        for number, _, tensor in held_by(optimizer):
            groups.setdefault(number, []).append(tensor)
        for number, group in groups.items():
            old = [n for n, t in enumerate(group) if _nobodys(known.get(id(t)), tree, f"{title}[{number}].params[{n}]")]
            if not old or not free:
                continue
            pairs = _by_place(group, old, tree, free) if len(old) < len(group) else _by_shapes(group, tree, free, known)
            if len(old) < len(group):
                near = {root for root, keys in tree.roots.items() for t in group if id(t) in keys}
                left = [n for n in old if n not in pairs]
                rest = [k for k in free if k in reached and k not in pairs.values() and _under(tree, near, k)]
                pairs.update(_by_own_shape(group, left, rest, known))
            for n, new in pairs.items():
                if len(old) < len(group) or reached.intersection(pairs.values()):
                    found.append((id(group[n]), new, title))
    return found


def _trains(named: Named | None) -> bool:
    return named is not None and named.tensor.requires_grad


def _nobodys(named: Named | None, tree: Tree, place: str) -> bool:
    return named is not None and id(named.tensor) not in tree.holders and named.name == place


def _under(tree: Tree, roots: set[int], key: int) -> bool:
    return any(key in tree.roots[root] for root in roots)


def _by_place(group: list[Tensor], old: list[int], tree: Tree, free: Collection[int]) -> dict[int, int]:
    pairs: dict[int, int] = {}
    for keys in tree.roots.values():
        order = list(keys)
        at = {key: n for n, key in enumerate(order)}
        for n in old:
            before = next((m for m in range(n - 1, -1, -1) if id(group[m]) in at), None)
            after = next((m for m in range(n + 1, len(group)) if id(group[m]) in at), None)
            places = {at[id(group[m])] + n - m for m in (before, after) if m is not None}
            place = places.pop() if len(places) == 1 else -1
            if 0 <= place < len(order) and order[place] in free and n not in pairs:
                pairs[n] = order[place]
    return pairs


def _by_shapes(group: list[Tensor], tree: Tree, free: Collection[int], known: dict[int, Named]) -> dict[int, int]:
    for keys in tree.roots.values():
        order = list(keys)
        alike = len(order) == len(group) and all(key in free for key in order)
        if alike and all(_shape(known[k].tensor) == _shape(t) for k, t in zip(order, group, strict=True)):
            return dict(enumerate(order))
    return {}


def _by_own_shape(group: list[Tensor], old: list[int], free: list[int], known: dict[int, Named]) -> dict[int, int]:
    pairs = {}
    for n in old:
        shape = _shape(group[n])
        same_old = [m for m in old if _shape(group[m]) == shape]
        same_new = [key for key in free if _shape(known[key].tensor) == shape]
        if len(same_old) == len(same_new) == 1:
            pairs[n] = same_new[0]
    return pairs


def _shape(tensor: Tensor) -> tuple[int, ...] | None:
    try:
        return tuple(tensor.shape)
    except RuntimeError:
        return None  # not initialized yet
