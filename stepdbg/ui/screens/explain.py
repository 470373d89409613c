"""What an optimizer's step did to one element, over the panes; it follows the run, step by step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from stepdbg.client.store import Recorded, Status, View
from stepdbg.protocol.messages import GetExplanation
from stepdbg.protocol.step import DID, WILL, Explanation
from stepdbg.ui import step_text
from stepdbg.ui.messages import Wanted

NARROW = 100
"""Columns of the screen below which keys stand closer together."""

Target = tuple[str, tuple[int, ...] | None, str]
"""Name, index (None: the first element), and "did", "will" or "" for what suits the stop."""


def neighbour(index: Sequence[int], shape: Sequence[int], move: str) -> tuple[int, ...]:
    """The element beside `index`: "left" and "right" in the order of memory, "up" and "down" by a row of the last
    dimension; "home" and "end" are the first and the last one. At an edge it stays.
    """
    total = 1
    for size in shape:
        total *= size
    if not shape or total == 0:
        return tuple(index)
    flat = 0
    for at, size in zip(index, shape, strict=True):
        flat = flat * size + at
    row = shape[-1] if len(shape) > 1 else 1
    wanted = flat + {"left": -1, "right": 1, "up": -row, "down": row}.get(move, 0)
    wanted = {"home": 0, "end": total - 1}.get(move, wanted)
    if not 0 <= wanted < total:
        return tuple(index)
    result = []
    for size in reversed(shape):
        wanted, at = divmod(wanted, size)
        result.append(at)
    return tuple(reversed(result))


class ExplainScreen(ModalScreen[None]):
    """One element's update, as the View has it; what the View does not have is asked for, at the present stop."""

    CSS = """
    ExplainScreen { align: center middle; background: $background 60%; }
    ExplainScreen > Vertical {
        width: 96%; max-width: 124; height: auto; max-height: 96%;
        border: round $border; background: $surface; border-title-color: $foreground; border-title-style: bold;
        border-subtitle-color: $foreground 75%;
    }
    ExplainScreen VerticalScroll {
        height: auto; padding: 1 1 0 2; scrollbar-size-vertical: 1; scrollbar-gutter: stable;
    }
    ExplainScreen #explain-text { height: auto; width: 1fr; }
    ExplainScreen #explain-outcome { height: auto; padding: 1 2; }
    ExplainScreen #explain-keys { height: auto; padding: 0 1; text-align: center; background: $panel; }
    ExplainScreen.-stale #explain-text { opacity: 75%; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,e", "dismiss", "Close", show=False),
        *(Binding(key, f"move('{key}')", show=False) for key in ("left", "right", "up", "down", "home", "end")),
        Binding("tab", "parameter(1)", "Next parameter", show=False),
        Binding("shift+tab", "parameter(-1)", "Previous parameter", show=False),
        Binding("pagedown,ctrl+d", "scroll_text(1)", "Scroll down", show=False),
        Binding("pageup,ctrl+u", "scroll_text(-1)", "Scroll up", show=False),
        Binding("w", "other", "What it did, or will do", show=False),
        Binding("y", "copy", "Copy", show=False),
        Binding("n,space", "app.command('next')", "Next phase", show=False),
        Binding("i", "app.command('iteration')", "Next iteration", show=False),
        Binding("left_square_bracket", "app.command('earlier')", "Earlier stop", show=False),
        Binding("right_square_bracket", "app.command('later')", "Later stop", show=False),
        Binding("right_curly_bracket", "app.command('present')", "Present stop", show=False),
    ]

    def __init__(self, name: str, index: tuple[int, ...] | None) -> None:
        super().__init__()
        self.target: Target = name, index, ""
        self.shown: Explanation | None = None
        """What is on screen, of this stop or of the one before."""
        self.said = ""
        """The sentence on screen where there is no explanation."""
        self._asked: tuple[int, Target] | None = None

    def compose(self) -> ComposeResult:
        """The text, and the keys."""
        with Vertical():
            with VerticalScroll(can_focus=False):
                yield Static("", id="explain-text")
            yield Static("", id="explain-outcome")
            yield Static("", id="explain-keys")

    def on_mount(self) -> None:
        """Follow the app's view, and whether the text has room, which only the layout knows."""
        self.watch(self.app, "view", self._follow)
        self.watch(self.query_one(VerticalScroll), "show_vertical_scrollbar", self._tell_place)

    def on_resize(self) -> None:
        """Lay the text out anew, once its width is known."""
        self.call_after_refresh(self._paint)

    # ── what is shown ───────────────────────────────────────────────────────────────────────────────────────

    def _follow(self, view: View | None) -> None:
        recorded = view.looking_at if view is not None else None
        if view is None or recorded is None:
            self._say("The script has not stopped yet.")
            return
        found = recorded.explained.get(self.target)
        if found is not None:
            self.shown, self.said = found, ""
            self.set_class(view.status is Status.RUNNING, "-stale")
            self._paint()
        elif view.live:
            self._ask(recorded)
        elif view.status is Status.RUNNING:
            self.set_class(True, "-stale")
        else:
            where = step_text.place(self.target[0], self.target[1] or ())
            self._say(f"Not recorded at stop {recorded.stop.number}: {where} was not explained then.")

    def _ask(self, recorded: Recorded) -> None:
        wish = recorded.stop.number, self.target
        if wish != self._asked:
            self._asked = wish
            name, index, tells = self.target
            self.post_message(Wanted(GetExplanation(0, name, index, tells)))
        elif failure := recorded.failed.get(GetExplanation.__name__):
            self._say(f"Cannot be told: {failure}")

    def _say(self, sentence: str) -> None:
        self.shown, self.said = None, sentence
        self.set_class(False, "-stale")
        self._paint()

    def _paint(self) -> None:
        if not self.children:
            return  # closed meanwhile
        text, box = self.query_one("#explain-text", Static), self.query_one(Vertical)
        self.query_one("#explain-keys", Static).update(self._keys())
        if self.shown is None:
            box.border_title = Content(step_text.place(self.target[0], self.target[1] or ())).markup
            self._fill(Content(self.said), [])
            return
        width = text.size.width or self.size.width - 10
        box.border_title = Content(step_text.title(self.shown)).markup
        self._fill(step_text.content(step_text.body(self.shown, width)), step_text.outcome(self.shown, width))

    def _fill(self, body: Content, outcome: list[step_text.Line]) -> None:
        """The outcome always stays in sight: what does not fit above it scrolls."""
        self.query_one("#explain-text", Static).update(body)
        below = self.query_one("#explain-outcome", Static)
        below.update(step_text.content(outcome))
        below.display = bool(outcome)
        frame = 3 + (len(outcome) + 2 if outcome else 0)  # two borders, the keys, and the outcome in its padding
        self.query_one(VerticalScroll).styles.max_height = max(self.size.height - 1 - frame, 4)
        self._tell_place()

    def _tell_place(self) -> None:
        """Which parameter it is, and that there is more than there is room for."""
        if not self.children:
            return  # closed meanwhile
        shown = self.shown
        place = f"parameter {shown.position + 1:,} of {shown.parameters:,}" if shown is not None else ""
        more = "pgdn scrolls" if self.query_one(VerticalScroll).show_vertical_scrollbar else ""
        self.query_one(Vertical).border_subtitle = " · ".join(part for part in (more, place) if part)

    def _keys(self) -> Content:
        pairs = [("←→↑↓", "element"), ("tab", "parameter"), ("n", "next")]
        if self.shown is not None and self.shown.other:
            pairs.append(("w", "last step" if self.shown.tells == WILL else "next step"))
        pairs += [("y", "copy"), ("escape", "closes")]
        parts = [Content.assemble((key, "bold $footer-key-foreground"), f" {word}") for key, word in pairs]
        return Content("  " if self.size.width < NARROW else "   ").join(parts)

    # ── keys ────────────────────────────────────────────────────────────────────────────────────────────────

    def go(self, target: Target) -> None:
        """Show another element."""
        self.target = target
        view = getattr(self.app, "view", None)
        self._follow(view if isinstance(view, View) else None)
        self.query_one(VerticalScroll).scroll_home(animate=False)

    def action_move(self, move: str) -> None:
        """To the element beside this one."""
        shown = self.shown
        if shown is not None:
            index = neighbour(shown.index, shown.shape, move)
            if index != shown.index:
                self.go((shown.name, index, self.target[2]))

    def action_parameter(self, step: int) -> None:
        """To the parameter after or before this one, in the order of the parameters pane."""
        name = "" if self.shown is None else self.shown.following if step > 0 else self.shown.previous
        if name:
            self.go((name, None, self.target[2]))

    def action_other(self) -> None:
        """From what the step will do to what the last one did, and back."""
        if self.shown is not None and self.shown.other:
            self.go((self.shown.name, self.shown.index, DID if self.shown.tells == WILL else WILL))

    def action_scroll_text(self, direction: int) -> None:
        """By a page."""
        scroll = self.query_one(VerticalScroll)
        if direction > 0:
            scroll.scroll_page_down(animate=False)
        else:
            scroll.scroll_page_up(animate=False)

    def action_copy(self) -> None:
        """As text into the clipboard."""
        if self.shown is not None:
            self.app.copy_to_clipboard(step_text.plain(self.shown))
            self.app.notify(f"copied: {step_text.title(self.shown)}", markup=False)
