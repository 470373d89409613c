"""The lines of trees that hypothesis grows, against a drawing made from who hangs from whom."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from stepdbg.ui.widgets.guides import Guides


@dataclass(frozen=True)
class Row:
    index: int
    depth: int
    rows_below: int
    level: int = 1
    unfolds: bool = False


@dataclass(frozen=True)
class Drawn:
    """A tree as it is known to whoever made it."""

    rows: list[Row]
    chains: list[int]
    """By row: the first row of the chain that it stands on."""
    hangs: dict[int, int | None]
    """By first row of a chain: the chain that it hangs from."""


def laid_out(parents: list[int], *, chains: bool) -> Drawn:
    """Rows in pre-order of the tree in which `parents[i]` is the parent of i + 1. With `chains` the child with most
    below it continues its parent, after the others.
    """
    children: dict[int, list[int]] = {node: [] for node in range(len(parents) + 1)}
    for child, parent in enumerate(parents, 1):
        children[parent].append(child)
    size = dict.fromkeys(children, 1)
    for child in range(len(parents), 0, -1):
        size[parents[child - 1]] += size[child]
    rows: list[Row] = []
    chain_of: list[int] = []
    hangs: dict[int, int | None] = {}
    work: list[tuple[int, int, int | None, int | None]] = [(0, 0, None, None)]
    while work:
        node, depth, chain, above = work.pop()
        index = len(rows)
        if chain is None:
            chain, hangs[index] = index, above
        rows.append(Row(index, depth, size[node] - 1))
        chain_of.append(chain)
        heavy = max(children[node], key=lambda child: size[child], default=None) if chains else None
        side = [child for child in children[node] if child != heavy]
        if heavy is not None:
            work.append((heavy, depth, chain, None))
        work.extend((child, depth + 1, None, chain) for child in reversed(side))
    return Drawn(rows, chain_of, hangs)


def lines(tree: Drawn, at: int) -> str:
    """The lines in front of row `at`, from the definition: a column has a line as long as its chain has more below."""

    def goes_on(chain: int) -> bool:
        later = range(at + 1, len(tree.rows))
        return any(tree.chains[i] == chain or (tree.chains[i] == i and tree.hangs[i] == chain) for i in later)

    columns: list[str] = []
    head = tree.chains[at] == at
    chain = tree.hangs[tree.chains[at]]
    while chain is not None:
        more = goes_on(chain)
        if head and not columns:
            columns.append("├ " if more else "└ ")
        else:
            columns.append("│ " if more else "  ")
        chain = tree.hangs[chain]
    return "".join(reversed(columns))


def mark(tree: Drawn, at: int) -> str:
    row = tree.rows[at]
    if tree.chains[at] == at:
        return "▾ " if row.rows_below else ""
    return "│ " if row.rows_below else "└ "


trees = st.lists(st.integers(0, 10**6), max_size=40).map(lambda ns: [n % (i + 1) for i, n in enumerate(ns)])


@given(trees, st.booleans(), st.integers(1, 7))
def test_a_tree_that_is_here_is_drawn_as_it_is(parents: list[int], chains: bool, page: int) -> None:
    tree = laid_out(parents, chains=chains)
    total = len(tree.rows)
    guides = Guides(dict(enumerate(tree.rows)), total, chains=chains)
    for first in range(0, total, page):
        # As far up as it looks, all that decides on a row is seen, but for branches longer than that.
        guides.work_out(first, min(first + page, total), total)
    assert [guides.of(at) for at in range(total)] == [(lines(tree, at), mark(tree, at)) for at in range(total)]


@given(trees, st.booleans(), st.integers(0, 40), st.integers(0, 40))
def test_what_is_not_here_leaves_out_lines_and_draws_no_wrong_ones(
    parents: list[int], chains: bool, first: int, last: int
) -> None:
    tree = laid_out(parents, chains=chains)
    total = len(tree.rows)
    here = {at: row for at, row in enumerate(tree.rows) if first <= at <= last}
    guides = Guides(here, total, chains=chains)
    guides.work_out(0, total, total)
    for at in here:
        shown, expected = guides.of(at)[0], lines(tree, at)
        assert len(shown) == len(expected)
        for column in range(0, len(expected), 2):
            own = column == len(expected) - 2
            assert shown[column] in (expected[column], " ") or (own and shown[column] in "├└│"), (at, shown, expected)
