"""The help screen, written from the registry of commands and the panes' own help."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.keys import format_key
from textual.screen import ModalScreen
from textual.widgets import Markdown, Static

from stepdbg.commands import COMMANDS, Command
from stepdbg.ui.header import HEADER_HELP
from stepdbg.ui.panes.pane import Pane
from stepdbg.ui.plots.screen import PLOTS_HELP
from stepdbg.ui.prompt import PromptBar
from stepdbg.ui.screens.chain import CHAIN_HELP


def key_names(command: Command, keymap: Mapping[str, str]) -> list[str]:
    """The keys of `command` as they are written on the keyboard, after the user's keymap."""
    keys = keymap[command.name].split(",") if command.name in keymap else command.keys
    return [format_key(key.strip()) for key in keys]


def help_text(panes: Iterable[type[Pane]], keymap: Mapping[str, str]) -> str:
    """Everything there is to know, as Markdown."""
    parts = ["# stepdbg", HEADER_HELP]
    for group, commands in groupby(COMMANDS, key=lambda command: command.group):
        parts += [f"## {group}", _rows(commands, keymap)]
    parts += ["`ctrl+c` pauses the running script, `ctrl+p` opens the palette of commands.", "## Prompt"]
    parts.append(PromptBar.HELP)
    for pane in sorted(panes, key=lambda pane: pane.NUMBER):
        parts += [f"## {pane.NUMBER} {pane.TITLE}", pane.HELP or ""]
    parts += ["## Plots (T)", PLOTS_HELP, "## Explained backward (E)", CHAIN_HELP]
    return "\n\n".join(parts)


def _rows(commands: Iterable[Command], keymap: Mapping[str, str]) -> str:
    lines = []
    for command in commands:
        keys = " ".join(key_names(command, keymap))
        lines.append(f"{keys:<9}{command.usage:<22}{command.help}")
        if command.aliases:
            lines.append(f"{'':<31}also: {', '.join(command.aliases)}")
    # A block of text: Markdown tables take three rows for each command.
    return "```text\n" + "\n".join(lines) + "\n```"


class HelpScreen(ModalScreen[None]):
    """Keys, commands and symbols, over the panes."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,question_mark", "dismiss", "Close", show=False),
        Binding("j", "scroll('down')", "Down", show=False),
        Binding("k", "scroll('up')", "Up", show=False),
    ]

    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = text

    def compose(self) -> ComposeResult:
        """The text, and how to leave."""
        with VerticalScroll(id="help") as scroll:
            scroll.border_title = "Help"
            yield Markdown(self._text, open_links=False)
        yield Static("↑ ↓ move   escape closes", id="help-footer")

    def on_mount(self) -> None:
        """The scrolling part takes the keys."""
        self.query_one(VerticalScroll).focus()

    def action_scroll(self, direction: str) -> None:
        """Move by a line."""
        scroll = self.query_one(VerticalScroll)
        if direction == "down":
            scroll.scroll_down(animate=False)
        else:
            scroll.scroll_up(animate=False)
