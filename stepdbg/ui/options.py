"""What the user can set about the screen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from stepdbg.client.history import History
from stepdbg.protocol.breakpoints import Spec


@dataclass(frozen=True)
class UiConfig:
    """The user's wishes, already checked by whoever read them."""

    theme: str | None = None
    """Name of a theme: one of stepdbg's or of Textual's; None: stepdbg-dark."""
    save_breakpoints: Callable[[tuple[Spec, ...]], None] = lambda _specs: None
    """Keeps them for the next start of the same script. Raises OSError."""
    history: History | None = None
    """Lines of the prompt from earlier sessions, and where to keep more; None: none are kept."""
    keymap: dict[str, str] = field(default_factory=dict)
    """Command name → its keys, comma-separated, in place of the default ones."""
