"""The top of the screen: the state of the run, and below the rail what just ran and what is next."""

from __future__ import annotations

import textwrap
from pathlib import Path

from textual.content import Content
from textual.reactive import reactive
from textual.widget import Widget

from stepdbg.client.store import Status, View
from stepdbg.protocol.records import StopReason, StopRecord
from stepdbg.ui import format as fmt
from stepdbg.ui.edited import summary
from stepdbg.ui.words import (
    DIM,
    FAILED,
    NOW,
    detail_of,
    exit_text,
    fit,
    held_at,
    joined,
    loss_number,
    loss_text,
    ran,
    rate_text,
    upcoming,
)

FACTS = 72
"""Columns that iteration, micro-batch, loss, rate and state may take."""

HEADER_HELP = """\
The first line tells the iteration (from one optimizer step to the next), the micro-batch inside it, the
loss with its change since the previous one (▼ lower, ▲ higher, = the same), iterations per second of the
script's own run time, and the state: ● stopped, ◌ running or starting, ■ finished or ended, ✗ failed.
Below the rail stands what just ran, with its time, what is next (▶), and the line of your code; inside a
phase the module, operation, node or parameter that is about to run (▶) or has run (✓). ◀ marks an earlier
stop, ✎ what was set by hand at the one on screen. Where there is room the first line tells which python
runs the script, and its torch.
"""


def state_text(view: View) -> Content:
    """What the script is doing, as a glyph and a word."""
    if view.status is Status.ENDED and view.exited is not None:
        style = "bold" if view.exited.status == 0 else FAILED
        return Content.styled(f"{'■' if view.exited.status == 0 else '✗'} {exit_text(view.exited)}", style)
    if view.lost is not None:
        return Content.styled("✗ connection lost", FAILED)
    if view.status is Status.STARTING:
        return Content.styled("◌ starting", NOW)
    if view.status is Status.RUNNING or not view.history:
        return Content.styled("◌ running…", NOW)
    reason = view.history[-1].stop.reason
    return {
        StopReason.EXCEPTION: Content.styled("✗ exception", FAILED),
        StopReason.FINISHED: Content.styled("■ finished", "bold"),
        StopReason.PAUSE: Content.styled("● paused", NOW),
    }.get(reason, Content.styled("● stopped", NOW))


def facts(view: View, *, brief: bool) -> list[str]:
    """Iteration, micro-batch, loss and rate: of the run while it runs, else of the stop on screen."""
    live = view.progress
    if live is not None:
        result = [f"iteration {live.iteration}"]
        result += [f"micro-batch {live.micro_batch}"] if live.micro_batch > 1 and not brief else []
        result += [f"loss {loss_number(live.loss)}"] if live.loss is not None else []
        return result + ([rate_text(live.rate)] if live.rate is not None else [])
    recorded = view.looking_at
    if recorded is None:
        return []
    stop = recorded.stop
    result = [f"iteration {stop.iteration}"]
    many = stop.micro_batch > 1 or any(step.count > 1 for step in stop.rail)
    result += [f"micro-batch {stop.micro_batch}"] if many and stop.micro_batch and not brief else []
    if stop.loss is not None:
        ago = stop.iteration - stop.loss.iteration
        told = loss_text(stop.loss)
        result.append(told if not ago else f"last {told}" if ago == 1 else f"{told} of iteration {stop.loss.iteration}")
    return result + ([rate_text(stop.rate)] if stop.rate is not None and not brief else [])


def place(stop: StopRecord) -> str:
    """Where it is held in the user's code: "two_nets.py:31 in train"; and the thread if not main."""
    if stop.here is None or stop.here >= len(stop.stack):
        return ""
    frame = stop.stack[stop.here]
    where = f"{Path(frame.file).name}:{frame.line}"
    if frame.function != "<module>":
        where += f" in {frame.function}"
    return where if stop.thread == "MainThread" else f"{where} · thread {stop.thread}"


def python_text(view: View) -> str:
    """Which python runs the script: "python 3.11.7, torch 2.13.0 · /usr/bin/python3"."""
    hello = view.hello
    if hello is None:
        return f"python: {view.info.python}" if view.info.python else ""
    torch = f", torch {hello.torch_version}" if hello.torch_version else ""
    return f"python {hello.python_version}{torch} · {hello.python}"


def concern(view: View | None) -> tuple[object, ...]:
    """What of the view the header and the status line tell: they need no repaint while it is the same."""
    if view is None:
        return ()
    recorded = view.looking_at
    stop = recorded.stop.number if recorded is not None else None
    return (
        view.info,
        view.hello,
        view.status,
        view.shown,
        view.ago,
        stop,
        recorded.edits if recorded is not None else (),
        view.progress,
        view.evaluating,
        view.pausing,
        view.exited,
        view.lost,
    )


class HeaderLine(Widget, can_focus=False):
    """The run in one line: title on the left, facts and state on the right."""

    view: reactive[View | None] = reactive(None, repaint=False)

    def watch_view(self, before: View | None, after: View | None) -> None:
        """Repaint what has changed."""
        if concern(before) != concern(after):
            self.refresh()

    def render(self) -> Content:
        """The line in the width there is: a micro-batch and a rate give way before the title does."""
        view = self.view
        if view is None:
            return Content("")
        left = Content.assemble((" stepdbg ", "bold $accent"), (f" {view.info.title}", "bold"))
        right = self._right(view, brief=False)
        if left.cell_length + right.cell_length + 2 > self.size.width:
            right = self._right(view, brief=True)
        python = Content.styled(f"  {python_text(view)}", DIM)
        # Only where the facts may grow without pushing it off again: it should not come and go.
        if left.cell_length + python.cell_length + FACTS <= self.size.width:
            left = Content.assemble(left, python)
        return fit(left, right, self.size.width)

    @staticmethod
    def _right(view: View, *, brief: bool) -> Content:
        parts = [Content(fact) for fact in facts(view, brief=brief)]
        return Content.assemble(joined([*parts, state_text(view)]), " ")


class StatusLine(Widget, can_focus=False):
    """What just ran, what is next, and where; below it what the user must not miss about this stop."""

    view: reactive[View | None] = reactive(None, repaint=False)

    def watch_view(self, before: View | None, after: View | None) -> None:
        """Repaint what has changed. Only for a line more or less is the screen laid out anew: that repaints it all."""
        if concern(before) != concern(after):
            self.refresh(layout=self._height(before) != self._height(after))

    def on_resize(self) -> None:
        """Sentences are wrapped anew."""
        self.refresh(layout=bool(self.view is not None and self._remarks(self.view)))

    def _height(self, view: View | None) -> int:
        return 1 + len(self._remarks(view)) if view is not None else 1

    def render(self) -> Content:
        """One line, or two where there is a remark."""
        view = self.view
        if view is None:
            return Content("")
        lines = [self._first(view), *self._remarks(view)]
        return Content("\n").join([line.truncate(self.size.width, ellipsis=True) for line in lines])

    def _first(self, view: View) -> Content:
        if view.shown is None and view.status is not Status.STOPPED:
            return Content.assemble(" ", self._not_stopped(view))
        recorded = view.looking_at
        if recorded is None:
            return Content("")
        stop = recorded.stop
        right = Content.styled(f"{place(stop)} ", DIM)
        left = Content.assemble(" ", self._around(stop))
        if left.cell_length > self.size.width:
            left = Content.assemble(" ", self._around(stop, brief=True))
        if left.cell_length + 2 + right.cell_length > self.size.width:
            return left  # what runs next matters more than where: the source pane says that as well
        return fit(left, right, self.size.width)

    @staticmethod
    def _not_stopped(view: View) -> Content:
        if view.status is Status.ENDED:
            return Content("the script has ended · r restarts it, q quits, [ looks at earlier stops")
        if view.lost is not None:
            reason = f": {view.lost}" if view.lost else ""
            return Content(f"no connection to the script any more{reason} · r restarts it, q quits")
        if view.status is Status.STARTING:
            why = f" ({view.info.python_reason})" if view.info.python_reason else ""
            return Content(f"starting python, waiting for import torch · {view.info.python}{why}")
        if view.evaluating is not None:
            seconds = view.evaluating.seconds
            takes = f"{view.evaluating.what} takes {f'{seconds} s so far' if seconds else 'a while'}"
            if view.evaluating.stuck:
                return Content(f"{takes}; cancelled, but it waits for a call that cannot be interrupted")
            return Content(f"{takes} · escape cancels it")
        if view.progress is not None and view.progress.phase and not view.pausing:
            return Content(f"running… now in {view.progress.phase} · p pauses")
        if view.pausing:
            return Content("pausing at the next boundary: when the phase that runs now is over")
        return Content("running… · p pauses")

    @staticmethod
    def _around(stop: StopRecord, *, brief: bool = False) -> Content:
        parts = []
        if stop.inside:
            inside = " › ".join(upcoming(run, stop.rail) for run in stop.inside)
            around = Content.styled(f"inside {inside}", DIM)
            if stop.at is not None:
                return joined([Content.assemble(around, (" ▸ ", DIM), held_at(stop.at)), *detail_of(stop.at)])
            parts.append(around)
        nothing = "not recorded, it ran free" if stop.ran_free else "nothing yet"
        just = ", ".join(ran(run, stop.rail, brief=brief) for run in stop.just_ran) or nothing
        parts.append(Content.assemble(("just ran: ", DIM), just))
        if stop.next is not None:
            parts.append(Content.assemble(("next: ", DIM), (f"▶ {upcoming(stop.next, stop.rail)}", NOW)))
        return joined(parts)

    def _remarks(self, view: View) -> list[Content]:
        recorded = view.looking_at
        if recorded is None:
            return []
        stop, lines = recorded.stop, []
        if view.shown is not None:
            ago = f"{fmt.plural(view.ago, 'stop')} ago (stop {stop.number})"
            lines.append(Content.styled(f" ◀ {ago}: values as recorded then, ] to return", NOW))
        elif view.status is Status.ENDED and stop.reason not in (StopReason.FINISHED, StopReason.EXCEPTION):
            lines.append(Content.styled(f" the panes show stop {stop.number}, the last that was recorded", "italic"))
        elif view.status is not Status.STOPPED:
            return []
        if stop.exception is not None:
            message = stop.exception.message.strip().partition("\n")[0]
            what = f"{stop.exception.type}: {message}" if message else stop.exception.type
            wrapped = textwrap.wrap(f"exception {what}", max(self.size.width - 4, 40))[:4]
            lines += [Content.styled(f" {' ' if n else '✗'} {line}", FAILED) for n, line in enumerate(wrapped)]
        elif stop.reason is StopReason.FINISHED:
            lines.append(Content.styled(" ■ finished: held before teardown, c lets it end", "bold"))
        if stop.why:
            wrapped = textwrap.wrap(stop.why, max(self.size.width - 4, 40))[:4]
            lines += [Content.styled(f" {' ' if n else '●'} {line}", NOW) for n, line in enumerate(wrapped)]
        if stop.note:
            wrapped = textwrap.wrap(stop.note, max(self.size.width - 2, 40))
            lines += [Content.styled(f" {line}", "italic") for line in wrapped]
        if recorded.edits:
            lines.append(Content.styled(f" ✎ set by hand here: {summary(recorded.edits)}", "$warning"))
        return lines
