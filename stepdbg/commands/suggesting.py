"""Names for completion, from what is on screen."""

from __future__ import annotations

from stepdbg.client.store import View
from stepdbg.protocol.records import ParameterRow


def parameter_names(view: View) -> list[str]:
    """As they are shown, then in full where that is another."""
    rows = parameter_rows(view)
    return list(dict.fromkeys([*(row.title for row in rows), *(row.name for row in rows)]))


def modules_of_parameters(view: View) -> list[str]:
    """Full paths of the modules that hold parameters."""
    return list(dict.fromkeys(row.name.rpartition(".")[0] for row in parameter_rows(view)))


def parameter_rows(view: View) -> list[ParameterRow]:
    """Those that have been received."""
    recorded = view.looking_at
    listing = recorded.parameters if recorded is not None else None
    return [row for _, row in sorted(listing.rows.items())] if listing is not None else []
