"""What the commands in words do: expressions, frames, displays, topics, files of commands."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from textual.worker import WorkerError

from stepdbg.client.store import Status
from stepdbg.commands import COMMANDS, find
from stepdbg.commands.exporting import Ask
from stepdbg.commands.files import read_commands
from stepdbg.commands.helptext import all_commands, one_command
from stepdbg.commands.info import TOPICS, Context, Told
from stepdbg.commands.prompt import Parsed
from stepdbg.errors import RequestError, SessionClosedError, UsageError
from stepdbg.plain import stop as plain_stop
from stepdbg.plain import words as plain_words
from stepdbg.protocol.records import StopRecord
from stepdbg.protocol.words import Completions, Evaluate, Evaluated, GetCompletions
from stepdbg.ui.answers import AnswerBox, AnswerScreen
from stepdbg.ui.graphs import GONE
from stepdbg.ui.panes.source import SourcePane
from stepdbg.ui.patience import Patience

if TYPE_CHECKING:
    from stepdbg.ui.app import StepdbgApp

POLL = 0.02
"""Seconds between looks whether a script that goes on has stopped, while a file of commands is run."""

MOST_ANSWERS = 200
"""Answers that are kept."""

ASKING = frozenset({"words", "breakpoints", "displays", "editing", "explain", "inside", "names", "values", "watching"})
"""Groups of workers whose end is waited for: they ask the held script, which must not go on before it has answered."""


class WordsCommands:
    """The app's part for what is said in words (`commands.command.WordsHost`)."""

    def __init__(self, app: StepdbgApp, ask: Ask) -> None:
        self._app = app
        self._ask = ask
        """Asks the session that there is."""
        self.patience = Patience(app, ask)
        self._chosen: tuple[int, int] | None = None
        """Number of a stop and index of the frame that is selected there."""
        self._displays: dict[int, str] = {}
        self._numbered = 0
        self._trace = ""
        """Where the last error of an expression came from."""
        self._answers: deque[tuple[int, int, str, Sequence[str]]] = deque(maxlen=MOST_ANSWERS)
        """Number of the stop, iteration, title, lines."""

    # ── what is on screen ───────────────────────────────────────────────────────────────────────────────────

    @property
    def _box(self) -> AnswerBox:
        return self._app.main.query_one(AnswerBox)

    @property
    def _stop(self) -> StopRecord | None:
        view = self._app.view
        return view.history[-1].stop if view is not None and view.history else None

    @property
    def frame(self) -> int | None:
        """Index of the selected frame; None: the innermost of the user's code."""
        stop = self._stop
        return (
            self._chosen[1]
            if stop is not None and self._chosen is not None and self._chosen[0] == stop.number
            else None
        )

    @property
    def _width(self) -> int:
        return max(self._app.size.width - 4, 40)

    def say(self, title: str, lines: Sequence[str], *, wrong: bool = False) -> None:
        """Show an answer where there is room for it."""
        stop, box = self._stop, self._box
        if stop is not None and title:
            self._answers.append((stop.number, stop.iteration, title, lines))
        if len(lines) <= box.room:
            box.say(title, lines, wrong=wrong)
        else:
            self._app.push_screen(AnswerScreen(title, lines))

    def show_answers(self) -> None:
        """Those before, the newest first: an answer in the box goes with its stop."""
        if not self._answers:
            self._warn("answers: nothing has been asked yet: p loss, or info params")
            return
        shown: list[str] = []
        at = -1
        for number, iteration, title, lines in reversed(self._answers):
            if number != at:
                before = "" if number < at or at < 0 else ", before the restart"
                shown += [*([""] if shown else []), f"stop {number:,} · iteration {iteration:,}{before}"]
                at = number
            shown += [f"  {title}", *(f"    {line}" for line in lines)]
        self._app.push_screen(AnswerScreen("answers", shown))

    def _warn(self, text: str) -> None:
        self._app.notify(text, severity="warning", markup=False)

    async def _asked(self, title: str, query: Evaluate) -> Evaluated | None:
        try:
            answer: Evaluated = await self.patience.ask(query)
        except RequestError as error:
            self.say(title, [str(error)], wrong=True)
        except SessionClosedError:
            self._warn(f"{title}: {GONE}")
        else:
            return answer
        return None

    # ── expressions ─────────────────────────────────────────────────────────────────────────────────────────

    def evaluate(self, text: str, *, statement: bool) -> None:
        """Run it in the selected frame, and tell what it gave."""
        self._app.run_worker(self._evaluate(text, statement), group="words")

    async def _evaluate(self, text: str, statement: bool) -> None:
        title = f"{'!' if statement else 'p'} {text}"
        answer = await self._asked(title, Evaluate(0, text, self.frame, statement))
        if answer is None:
            return
        self._trace = answer.traceback or self._trace
        lines = [answer.error] if answer.error else plain_words.lines(answer, self._width)
        self.say(title, lines or ["done"], wrong=bool(answer.error))
        if statement:
            self._app.edits.read_again()
            self.stopped()

    def cancel(self) -> bool:
        """Cancel expressions that take a while; False: there is none."""
        return self.patience.cancel()

    def show_traceback(self) -> None:
        """Of the last error of an expression; else of the script's exception."""
        stop = self._stop
        text = self._trace or (stop.exception.text if stop is not None and stop.exception is not None else "")
        if text:
            self.say("traceback", text.rstrip().split("\n"))
        else:
            self._warn("traceback: no expression has failed, and no exception was raised")

    def complete(self, before: str, text: str, done: Callable[[Sequence[str], str], None]) -> None:
        """Call `done` with the lines that `before` and `text` may become, or with none and why."""
        self._app.run_worker(self._complete(before, text, done), group="completing", exclusive=True)

    async def _complete(self, before: str, text: str, done: Callable[[Sequence[str], str], None]) -> None:
        try:
            answer: Completions = await self._ask(GetCompletions(0, text, self.frame))
        except RequestError as error:
            done((), str(error))
        except SessionClosedError:
            done((), "the script is not held: there are no names to complete")
        else:
            done([before + found for found in answer.texts], "")

    # ── displays ────────────────────────────────────────────────────────────────────────────────────────────

    def display(self, text: str) -> None:
        """One more; no text: say which there are."""
        if text:
            self._numbered += 1
            self._displays[self._numbered] = text
            self.stopped()
        elif not self._displays:
            self._warn("display: nothing is displayed: display loss, or display net[0].weight.grad.norm()")
        else:
            self.stopped()

    def undisplay(self, number: int | None) -> None:
        """One less, or none at all."""
        if number is None:
            self._displays.clear()
        elif self._displays.pop(number, None) is None:
            known = ", ".join(map(str, self._displays)) or "there is none"
            self._warn(f"undisplay: there is no display {number}: {known}")
        self.stopped()

    def stopped(self) -> None:
        """Tell anew what is displayed."""
        if not self._displays:
            self._box.show_displayed(())
            return
        view = self._app.view
        if view is not None and view.status is Status.STOPPED:
            self._app.run_worker(self._show_displays(), group="displays", exclusive=True)
        else:
            self._box.show_displayed([(number, text, ("…",)) for number, text in self._displays.items()])

    async def _show_displays(self) -> None:
        shown = []
        for number, text in list(self._displays.items()):
            try:
                answer: Evaluated = await self.patience.ask(Evaluate(0, text, self.frame))
            except RequestError as error:
                lines: tuple[str, ...] = (str(error),)
            except SessionClosedError:
                return
            else:
                lines = (plain_words.brief(answer, self._width - len(text) - 6),)
            shown.append((number, text, lines))
        self._box.show_displayed(shown)

    # ── frames ──────────────────────────────────────────────────────────────────────────────────────────────

    def chosen(self, stop: int, frame: int) -> None:
        """The user moved to that frame in the source pane."""
        self._chosen = stop, frame

    def show_stack(self) -> None:
        """The whole stack."""
        stop = self._stop
        if stop is not None:
            self.say("bt", plain_stop.stack(stop, self.frame, self._width))

    def select_frame(self, number: int | None, step: int = 0) -> None:
        """That one, or one so many further out."""
        stop = self._stop
        if stop is None:
            return
        found = plain_stop.chosen(stop, self.frame, number, step)
        if isinstance(found, str):
            self._warn(found)
            return
        self._chosen = stop.number, found
        self._app.main.query_one(SourcePane).select(stop.number, found)
        self.say("", [f"{found}  {plain_stop.frame(stop.stack[found])}"])
        self.stopped()

    def list_source(self) -> None:
        """The source pane shows it."""
        self._app.focus_pane(SourcePane.NUMBER)

    # ── topics, help, files ─────────────────────────────────────────────────────────────────────────────────

    def info(self, topic: str, rest: str) -> None:
        """Tell of it."""
        self._app.run_worker(self._info(topic, rest), group="words")

    async def _info(self, topic: str, rest: str) -> None:
        stop, view = self._stop, self._app.view
        if stop is None or view is None:
            return
        title = f"info {topic} {rest}".rstrip()
        try:
            told: Told = await TOPICS[topic].answer(self._ask, Context(view, stop, self.frame, rest, self._width))
        except (RequestError, UsageError) as error:
            self.say(title, [str(error)], wrong=True)
        except SessionClosedError:
            self._warn(f"{title}: {GONE}")
        else:
            self.say(title, told.lines)

    def help(self, name: str) -> None:
        """All there is to know of that command."""
        try:
            self.say(f"help {name}", one_command(find(name)) if name else all_commands(COMMANDS))
        except UsageError as error:
            self._warn(str(error))

    def run_file(self, name: str) -> None:
        """Run what is in it, once all of it has been read."""
        try:
            commands = read_commands(name)
        except UsageError as error:
            self._warn(str(error))
            return
        self._app.run_worker(self.run_all(commands), group="source", exclusive=True)

    async def run_all(self, commands: Sequence[Parsed]) -> None:
        """One after the other, once the one before has its answer; after one that lets the script go on, at its next
        stop.
        """
        workers = self._app.workers
        for parsed in commands:
            if not await self._stopped_again():
                return
            before = set(workers)
            self._app.run_command(parsed.command, parsed.argument)
            asked = [worker for worker in workers if worker not in before and worker.group in ASKING]
            if asked:
                with suppress(WorkerError):
                    await workers.wait_for_complete(asked)

    async def _stopped_again(self) -> bool:
        """Wait until the script is held and the screen shows it; False: it has ended."""
        app = self._app
        while app.view is not None and app.view.status is not Status.ENDED:
            if app.view.status is Status.STOPPED and not app._going_on:
                return True
            await asyncio.sleep(POLL)
        return False

    def detach(self) -> None:
        """Let the script run on, and leave."""
        self._app.run_worker(self._app._quit(detach=True), group="quit")
