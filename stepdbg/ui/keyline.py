"""The keys in one line at the bottom of the screen: what Textual's footer shows, drawn by a single widget.

A footer of one widget a key builds them all anew whenever a command becomes available or stops being so, which
is at every stop; that took longer than everything else together. This one draws a line.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from textual.content import Content
from textual.reactive import reactive
from textual.screen import Screen
from textual.widget import Widget


@dataclass(frozen=True)
class Key:
    """One command's key, or several that share a word."""

    shown: tuple[tuple[str, str, bool], ...]
    """Key, action, and whether it can be used now, of each."""
    word: str

    @property
    def enabled(self) -> bool:
        """Whether any of them can be used now."""
        return any(enabled for _key, _action, enabled in self.shown)


class KeyLine(Widget, can_focus=False):
    """Keys and words; what cannot be done now is dimmed. A click on one does it."""

    DEFAULT_CSS = """
    KeyLine {
        dock: bottom;
        height: 1;
        text-wrap: nowrap;
        color: $footer-description-foreground;
        background: $footer-background;
        link-style: none;
        link-color: $footer-key-foreground;
        link-background-hover: $boost;
        link-color-hover: $foreground;
        link-style-hover: none;
    }
    """

    keys: reactive[tuple[Key, ...]] = reactive(())

    def __init__(self, spared: Sequence[str]) -> None:
        super().__init__()
        self.spared = spared
        """Actions that give way, in this order, where there is no room for all."""

    def on_mount(self) -> None:
        self.screen.bindings_updated_signal.subscribe(self, self._take)
        self._take(self.screen)

    def _take(self, screen: Screen[object]) -> None:
        """Read the bindings that are in force, with the user's own keys."""
        found: list[tuple[object, Key]] = []
        actions: set[str] = set()
        for _node, binding, enabled, _tooltip in screen.active_bindings.values():
            if not binding.show or binding.action in actions:
                continue
            actions.add(binding.action)
            key = (self.app.get_key_display(binding), binding.action, enabled)
            group = binding.group
            if group is not None and found and found[-1][0] == group:
                before = found.pop()[1]
                found.append((group, Key((*before.shown, key), group.description)))
            else:
                found.append((group, Key((key,), binding.description)))
        self.keys = tuple(key for _group, key in found)

    def render(self) -> Content:
        """All keys, or on a narrow screen the most needed ones."""
        parts = {key.shown: self._part(key) for key in self.keys}
        for spared in self.spared:
            if self._columns(parts.values(), 1) <= self.size.width:
                break
            parts = {shown: p for shown, p in parts.items() if any(action != spared for _, action, _ in shown)}
        wide = self._columns(parts.values(), 2) <= self.size.width
        return Content.assemble(" ", Content("  " if wide else " ").join(parts.values()))

    @staticmethod
    def _columns(parts: Iterable[Content], gap: int) -> int:
        return sum(part.cell_length + gap for part in parts) + 1

    @staticmethod
    def _part(key: Key) -> Content:
        parts = []
        for shown, action, enabled in key.shown:
            text = Content.styled(shown, "bold $footer-key-foreground" if enabled else "dim")
            parts.append(text.stylize(f"@click={action}"))
        word = Content.styled(f" {key.word}", "" if key.enabled else "dim")
        if len(key.shown) == 1:
            word = word.stylize(f"@click={key.shown[0][1]}")
        return Content("").join([*parts, word])
