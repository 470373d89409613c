"""What the user can set about the screen."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class UiConfig:
    """The user's wishes, already checked by whoever read them."""

    theme: str | None = None
    """Name of a theme: one of stepdbg's or of Textual's; None: stepdbg-dark."""
    keymap: dict[str, str] = field(default_factory=dict)
    """Command name → its keys, comma-separated, in place of the default ones."""
