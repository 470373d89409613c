"""Keys that come in one piece, over a slow link or pasted: each goes to whom those before it have left the keys."""

from __future__ import annotations

from textual import events, on

from stepdbg.ui.prompt import PromptBar, PromptInput
from stepdbg.ui.sparing import Sparing


class InOrder(Sparing):
    """An app in which keys behind the `enter` of the prompt wait for what that does.

    A key is given to who has the focus when it comes, and done later: the digit of a pane, typed right behind a search,
    would be a letter in the line that is searched for.
    """

    def __init__(self) -> None:
        super().__init__()
        self._behind: list[events.Key] | None = None
        """Keys that wait; None: none has to."""

    async def on_event(self, event: events.Event) -> None:
        """Keys are kept back, or given to who has the focus; all else is as ever."""
        if isinstance(event, events.Key) and not event.is_forwarded:
            if self._behind is not None:
                self._behind.append(event)
                return
            if event.key == "enter" and isinstance(self.focused, PromptInput):
                self._behind = []
        await super().on_event(event)

    @on(PromptBar.Answered)
    async def _go_on(self) -> None:
        behind, self._behind = self._behind or [], None
        for key in behind:
            await self.on_event(key)
