"""How a backward comes from the loss to one parameter: node by node, with the gradient in and out of each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Protocol

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from stepdbg.protocol.chain import ChainPage, ChainStep, Way
from stepdbg.protocol.graph import Flow
from stepdbg.ui import format as fmt
from stepdbg.ui.widgets.line_list import LineList, Span
from stepdbg.ui.widgets.line_table import Column, LineTable

WATCH = "press a to watch gradients: numbers come with the next backward"
COMING = "numbers come with the next backward"

CHAIN_HELP = """\
The nodes on one path from the loss to a parameter, in the order in which backward runs them: |g| in is the gradient
that flows into a node (of its output, summed over all paths that join there), |g| out what it alone hands on to the
next node of the path. `a` has them noted at the next backward, `tab` shows the longest path instead of the shortest (of
equally long ones it is the one that takes the first edge where they part), `y` copies the table. The last line tells
what AccumulateGrad made of `.grad`.
"""

KEYS = ("escape close", "a {watch}", "tab other path", "y copy", "↑ ↓ move", "n i c p run on")


def number(flow: Flow | None) -> Span:
    """The norm of a gradient; how many elements are not finite, where there are any."""
    if flow is None:
        return "–", "muted"
    if flow.nonfinite:
        return f"{fmt.count(flow.nonfinite)} of {fmt.count(flow.numel)} NaN/Inf", "bad"
    return ("unreadable", "muted") if flow.norm is None else (fmt.number(flow.norm), "")


def node(step: ChainStep) -> Span:
    """What it is called."""
    return step.op, "name" if step.seq is None else ""


def module(step: ChainStep) -> Span:
    """The module call that made it, or the parameter at the end."""
    return step.module, "muted" if step.seq is not None else "name"


def joins(step: ChainStep) -> Span:
    """Where several ways meet: what flows in is more than the node above hands on."""
    return (f"{step.joins} join", "lit") if step.joins > 1 else ("", "")


COLUMNS: tuple[Column[ChainStep], ...] = (
    Column("node", node),
    Column("module", module, priority=3, most=28),
    Column("shape", lambda step: (fmt.shape(step.shape) if step.shape is not None else "?", ""), 2, right=True),
    Column("|g| in", lambda step: number(step.entering), 0, right=True, least=8),
    Column("|g| out", lambda step: number(step.leaving) if step.seq is not None else ("", ""), 0, right=True, least=8),
    Column("ways", joins, 1, optional=True),
)


def heading(page: ChainPage) -> str:
    """Which path this is, of how many: "loss → net.0.weight · the shortest of 2 ways, 11 nodes"."""
    if not page.root:
        return page.title
    nodes = fmt.plural(page.total, "node")
    if page.paths == "1":
        return f"{page.root} → {page.title} · the only way, {nodes}"
    return f"{page.root} → {page.title} · the {page.way.value} of {page.paths} ways, {nodes}"


def whose(page: ChainPage) -> str:
    """Of which backward the numbers are, or how to get any."""
    if page.why_no_flows:
        if page.why_no_flows.startswith("off"):
            return WATCH
        return f"{page.why_no_flows}: {COMING if page.watched else WATCH}"
    if not page.iteration:
        return "" if page.watched else WATCH
    of = f"|g| of the backward in iteration {page.iteration:,}"
    if page.micro_batch > 1:
        of += f", micro-batch {page.micro_batch}"
    if page.times > 1:
        of += f", the last of {page.times} through this graph"
    return of


def added(page: ChainPage) -> str:
    """What AccumulateGrad does with what comes out at the end."""
    label = f" ({page.grad_label})" if page.grad_label not in {"", "none"} else ""
    now = "none" if page.grad_label == "none" else f"{_plain(page.grad_now)}{label}"
    last = page.steps[-1] if page.steps and page.steps[-1].seq is None else None
    if page.had_grad is None:
        return f"AccumulateGrad adds what comes into .grad · |grad| now {now}"
    before = _plain(page.grad_before) if page.had_grad else "none"
    came = f" |g| {_plain(last.entering.norm)}" if last is not None and last.entering is not None else ""
    line = f"AccumulateGrad adds{came} into .grad: {before} → {_plain(page.grad_after)}"
    if page.accumulated > 1:
        line += f" (sum of {page.accumulated} backwards)"
    return line if page.grad_now == page.grad_after else f"{line} · now {now}"


def _plain(value: float | None) -> str:
    return "unknown" if value is None else fmt.number(value)


def as_text(page: ChainPage, steps: Mapping[int, ChainStep]) -> str:
    """All of it as plain text, columns aligned."""
    lines = [heading(page), whose(page), ""]
    table = [tuple(column.title for column in COLUMNS)]
    table += [tuple(column.cell(step)[0] for column in COLUMNS) for _, step in sorted(steps.items())]
    widths = [max(fmt.columns(row[at]) for row in table) for at in range(len(COLUMNS))]
    for row in table:
        cells = [fmt.pad(text, width, right=c.right) for text, width, c in zip(row, widths, COLUMNS, strict=True)]
        lines.append("  ".join(cells).rstrip())
    if len(steps) < page.total:
        lines.append(f"… {page.total - len(steps):,} more")
    return "\n".join([*lines, "", added(page)])


class Asks(Protocol):
    """Who knows whom to ask (`ui.chains.ChainCommands`)."""

    def fetch(self, offset: int, count: int) -> None:
        """Steps `offset` … `offset + count` are on screen, or about to be."""

    def other_way(self) -> None:
        """The other path is to be shown."""

    def watch(self, *, on: bool) -> None:
        """Gradients along this chain are to be noted from the next backward on, or no longer."""

    def copy(self, text: str, what: str) -> None:
        """Put `text` into the clipboard, and say that it is `what`."""


class ChainScreen(ModalScreen[None]):
    """Shows pages of one chain; asks for them. The run goes on under it: its keys work here too."""

    CSS = """
    ChainScreen { background: $background; }
    ChainScreen #chain-title, ChainScreen #chain-keys { height: 1; background: $panel; text-wrap: nowrap; }
    ChainScreen #chain-keys { color: $text-muted; text-overflow: ellipsis; dock: bottom; }
    ChainScreen #chain-whose { height: auto; max-height: 3; padding: 0 1; color: $text-muted; }
    ChainScreen #chain-added { height: auto; max-height: 3; padding: 0 1; }
    ChainScreen Vertical { border: round $border; border-title-style: bold; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,E", "dismiss", "Close", show=False),
        Binding("a", "watch", "Watch gradients", show=False),
        Binding("tab", "other_way", "The other path", show=False, priority=True),
        Binding("y", "copy", "Copy as text", show=False),
        Binding("n,space", "app.command('next')", "Next", show=False, id="next"),
        Binding("i", "app.command('iteration')", "Iteration", show=False, id="iteration"),
        Binding("c", "app.command('continue')", "Continue", show=False, id="continue"),
        Binding("p", "app.command('pause')", "Pause", show=False, id="pause"),
    ]

    def __init__(self, name: str, way: Way, asks: Asks) -> None:
        super().__init__()
        self._asks = asks
        self.parameter = name
        self.way = way
        self.page: ChainPage | None = None
        self._steps: dict[int, ChainStep] = {}
        self.table: LineTable[ChainStep] = LineTable(COLUMNS)
        self._state = ""
        self._sentence = f"looking for the way to {name or 'the first parameter'} …"
        """What stands there where no chain does."""
        self._ready = False

    def compose(self) -> ComposeResult:
        """Title, where the numbers are from, the chain, what it adds up to, keys."""
        yield Static(id="chain-title")
        yield Static(id="chain-whose")
        with Vertical() as box:
            box.border_title = "from the loss down"
            yield self.table
        yield Static(id="chain-added")
        yield Static(id="chain-keys")

    def on_mount(self) -> None:
        """The table takes the keys. The chain may have come before the screen was there."""
        self._ready = True
        self.table.focus()
        self._draw()

    def show(self, page: ChainPage, state: str) -> None:
        """Show a page; one of another stop, or of another path, begins anew."""
        before = self.page
        same = before is not None and (before.stop, before.way, before.total, before.watched) == (
            page.stop, page.way, page.total, page.watched,
        )  # fmt: skip
        steps = self._steps if same else {}
        self._steps = {**steps, **dict(enumerate(page.steps, page.offset))}
        self.page, self._state, self.parameter, self._sentence = page, state, page.name, page.note
        self._draw()

    def fail(self, why: str) -> None:
        """There is no chain to show."""
        self.page, self._steps, self._sentence = None, {}, why
        self._draw()

    def on_resize(self) -> None:
        """A short chain takes no more room than it needs: what it adds up to stands right below."""
        self._draw()

    def _draw(self) -> None:
        if not self._ready:
            return
        page = self.page
        there = page is not None and not page.note
        rows = page.total if page is not None else 0
        others = 8  # title, two sentences of up to three lines each, keys
        box = self.query_one(Vertical)
        box.display = bool(there)
        box.styles.height = max(min(rows + 3, self.size.height - others), 4)
        self.table.show(self._steps, rows)
        self.query_one("#chain-whose", Static).update(Content(whose(page) if page and there else self._sentence))
        self.query_one("#chain-added", Static).update(Content(added(page) if page and there else ""))
        self._title()

    def tell_state(self, state: str) -> None:
        """The script has stopped, or goes on."""
        if state != self._state:
            self._state = state
            if self._ready:
                self._title()

    def _title(self) -> None:
        text = heading(self.page) if self.page is not None else self.parameter
        left = Content.assemble((" backward ", "bold $accent"), f" {text}")
        gap = self.size.width - left.cell_length - fmt.columns(self._state) - 1
        watched = self.page is not None and self.page.watched
        keys = " " + "   ".join(KEYS).format(watch="unwatch" if watched else "watch")
        self.query_one("#chain-keys", Static).update(Content(keys))
        self.query_one("#chain-title", Static).update(Content.assemble(left, " " * max(gap, 1), self._state, " "))

    @on(LineList.RowsWanted)
    def _rows(self, event: LineList.RowsWanted) -> None:
        event.stop()
        self._asks.fetch(event.offset, event.count)

    def action_watch(self) -> None:
        """Watch it, or not any more."""
        self._asks.watch(on=not (self.page is not None and self.page.watched))

    def action_other_way(self) -> None:
        """The longest after the shortest, and back."""
        self._asks.other_way()

    def action_copy(self) -> None:
        """All rows that are here, as text."""
        if self.page is None or not self._steps:
            return
        rows = fmt.plural(len(self._steps), "node")
        self._asks.copy(as_text(self.page, self._steps), f"the chain to {self.parameter}, {rows}")
