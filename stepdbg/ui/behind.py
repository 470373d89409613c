"""Keys that come in one piece, over a slow link or pasted: each goes to whom those before it have left the keys."""

from __future__ import annotations

from textual import events, on
from textual.widgets import Input, TextArea

from stepdbg.ui.prompt import PromptBar, PromptInput
from stepdbg.ui.sparing import Sparing


class InOrder(Sparing):
    """An app in which a key is done when it comes, and keys behind the `enter` of the prompt wait for what that does.

    Textual gives a key to who has the focus, and does it once it comes back from there, for who has the focus then: a
    pane's own key right before `/` would be the prompt's, and the digit of a pane, typed right behind a search, a
    letter in the line that is searched for.
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

    async def _check_bindings(self, key: str, priority: bool = False) -> bool:
        """Where no letters are typed nobody else than the bindings wants the key, so it need not go round first."""
        if await super()._check_bindings(key, priority):
            return True
        typing = isinstance(self.focused, (Input, TextArea))
        return priority and not typing and await super()._check_bindings(key)

    @on(PromptBar.Answered)
    async def _go_on(self) -> None:
        behind, self._behind = self._behind or [], None
        for key in behind:
            await self.on_event(key)
