"""An estimate, over the panes."""

from __future__ import annotations

import textwrap
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from stepdbg.plain import whatif
from stepdbg.protocol.whatif import Estimate

STRONG = ("frees", "would save", "state in all", "at most")
"""How the rows end that answer the question."""


class WhatIfScreen(ModalScreen[None]):
    """Rows of bytes, the answer in one sentence, and what it is estimated from."""

    CSS = """
    WhatIfScreen { align: center middle; background: $background 60%; }
    WhatIfScreen > Vertical {
        width: 94%; max-width: 92; height: auto; max-height: 94%;
        border: round $border; background: $surface; border-title-color: $foreground; border-title-style: bold;
        border-subtitle-color: $warning;
    }
    WhatIfScreen VerticalScroll { height: auto; max-height: 100%; scrollbar-size-vertical: 1; }
    WhatIfScreen #what-if-text { height: auto; padding: 1 2; }
    WhatIfScreen .keys { height: 1; text-align: center; background: $panel; color: $text-muted; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,enter", "dismiss", "Close", show=False),
        Binding("y", "copy", "Copy", show=False),
    ]

    def __init__(self, estimate: Estimate) -> None:
        super().__init__()
        self.estimate = estimate
        self.text = Static("", id="what-if-text")

    def compose(self) -> ComposeResult:
        """The text, and how to leave it."""
        with Vertical() as box:
            box.border_title = Content(f"What if: {self.estimate.title}").markup
            box.border_subtitle = "an estimate"
            with VerticalScroll():
                yield self.text
            yield Static("y copies   escape closes", classes="keys")

    def on_mount(self) -> None:
        """Lay it out once its width is known; the text has the keys, to be scrolled."""
        self.query_one(VerticalScroll).focus()
        self.call_after_refresh(self._paint)

    def on_resize(self) -> None:
        """Lay it out anew."""
        self.call_after_refresh(self._paint)

    def _paint(self) -> None:
        if not self.children:
            return  # closed meanwhile
        width = max(self.text.content_size.width or self.size.width - 10, 20)
        found: list[Content] = []
        for label, value, remark in whatif.rows(self.estimate):
            strong = "bold" if label.strip().endswith(STRONG) else "$foreground 80%"
            room = max(width - len(label) - len(value) - 3, 0)
            tail = remark if len(remark) <= room else remark[: max(room - 1, 0)] + "…" if room > 1 else ""
            found.append(
                Content.assemble((label, strong), " ", (value, strong), "  ", (tail, "$foreground 60%")),
            )
        found.append(Content(""))
        for text, style in (
            (self.estimate.answer[0].upper() + self.estimate.answer[1:] + ".", "bold"),
            (self.estimate.basis, "$foreground 75%"),
            (self.estimate.note, "$foreground 75%"),
        ):
            found += [Content.styled(line, style) for line in textwrap.wrap(text, width)]
        self.text.update(Content("\n").join(found))

    def action_copy(self) -> None:
        """As text into the clipboard."""
        self.app.copy_to_clipboard("\n".join(whatif.lines(self.estimate)))
        self.app.notify("copied", markup=False)
