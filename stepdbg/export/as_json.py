"""A graph as JSON: every fact of every row. The schema is described in `docs/export.md`."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from typing import Any

from stepdbg._version import __version__
from stepdbg.export.writer import Edge, Writer
from stepdbg.protocol.codec import to_plain
from stepdbg.protocol.graph import GraphRow

SCHEMA = 1
"""Raised when something is taken out or changes its meaning; more may be added at any time."""


class JsonWriter(Writer):
    """One object, with a line for each node and each edge."""

    def begin(self) -> str:
        page, lens = self.page, self.lens
        choice = next((choice for choice in page.choices if choice.id == page.graph), None)
        head = {
            "version": SCHEMA,
            "made_by": f"stepdbg {__version__}",
            "view": lens.view.value,
            "filter": lens.pattern,
            "selected": lens.selected,
            "root": page.root,
            "root_op": page.root_op,
            "stop": page.stop,
            "recorded_at": page.recorded_at,
            "freed": page.freed,
            "graph": None if choice is None else to_plain(choice),
            "counts": {"nodes": page.nodes, "edges": page.edges},
            "marks": dict(page.marks),
            "reach": to_plain(page.reach),
            "note": page.note,
        }
        lines = ",\n".join(f"{_text(key)}: {_text(value)}" for key, value in head.items())
        return f'{{\n{lines},\n"nodes": ['

    def rows(self, rows: Iterable[GraphRow]) -> str:
        lines = []
        for row in rows:
            lines.append(f"{',' if self.nodes else ''}\n{_text(to_plain(row))}")
            self.nodes += 1
        return "".join(lines)

    def end(self) -> Iterator[str]:
        yield '\n],\n"edges": ['
        yield from self._edge_pieces()
        yield "\n]\n}\n"

    def _edge(self, edge: Edge) -> str:
        comma = "" if edge is self._edges[0] else ","
        return f'{comma}\n{{"from": {edge[0]}, "to": {edge[1]}, "count": {edge[2]}}}'


def _text(plain: Any) -> str:
    """Strict JSON in ASCII, which any string survives."""
    try:
        return json.dumps(plain, allow_nan=False)
    except ValueError:
        return json.dumps(_finite(plain), allow_nan=False)


def _finite(plain: Any) -> Any:
    """With "nan", "inf" and "-inf" for the numbers that JSON does not have."""
    if isinstance(plain, float) and not math.isfinite(plain):
        return str(plain)
    if isinstance(plain, dict):
        return {key: _finite(value) for key, value in plain.items()}
    return [_finite(value) for value in plain] if isinstance(plain, list) else plain
