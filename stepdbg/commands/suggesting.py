"""Names for completion: those that the script's side has told, else those of the rows that have been received."""

from __future__ import annotations

from stepdbg.client.store import View
from stepdbg.protocol.records import ParameterRow


def parameter_names(view: View) -> list[str]:
    """As they are shown, then in full where that is another."""
    if view.names is not None:
        return list(view.names.parameters)
    rows = parameter_rows(view)
    return list(dict.fromkeys([*(row.title for row in rows), *(row.name for row in rows)]))


def module_names(view: View) -> list[str]:
    """Paths from the roots' variables; of rows, of the modules that hold parameters and of those around them."""
    if view.names is not None:
        return list(view.names.modules)
    parts = (row.name.split(".")[:-1] for row in parameter_rows(view))
    return list(dict.fromkeys(".".join(path[:end]) for path in parts for end in range(1, len(path) + 1)))


def parameter_rows(view: View) -> list[ParameterRow]:
    """Those that have been received."""
    recorded = view.looking_at
    listing = recorded.parameters if recorded is not None else None
    return [row for _, row in sorted(listing.rows.items())] if listing is not None else []
