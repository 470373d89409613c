"""Runs a script and a list of commands at its stops."""

from __future__ import annotations

import asyncio
import inspect
import signal
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from typing import Any

from stepdbg.batch.host import BatchHost
from stepdbg.batch.output import WIDTH
from stepdbg.batch.output import Output as Writer
from stepdbg.batch.parts import Breakpoints, Inside, Leaks, MemoryView, Parameters
from stepdbg.batch.session import BatchSession
from stepdbg.client import store
from stepdbg.client.session import ConnectionLost, Exited, Output
from stepdbg.client.store import Status, View
from stepdbg.commands.available import needs_next
from stepdbg.commands.files import lines_of
from stepdbg.commands.info import Told
from stepdbg.commands.prompt import parse
from stepdbg.errors import RequestCancelledError, RequestError, SessionClosedError, UsageError
from stepdbg.launch.process import Launch
from stepdbg.plain import words as plain_words
from stepdbg.protocol import messages as m
from stepdbg.protocol.breakpoints import Book, Evaluating
from stepdbg.protocol.inside import Target
from stepdbg.protocol.records import StopReason
from stepdbg.protocol.words import Evaluate, Evaluated

FAILED = 3
"""Exit status where a command failed."""

VAIN = 2.0
"""Seconds after a cancel in which most code has heard of it."""

BOTH = 0.5
"""Seconds in which a Ctrl-C reaches both sides."""

DEEPEST = 20
"""Files of commands that may run each other."""


def run_batch(launch: Launch, lines: Iterable[str], writer: Writer, *, capture: bool = False) -> int:
    """Run the commands in order, each at a stop; then let the script run to its end, bare.

    Returns its exit status, FAILED where a command failed, 0 after `quit`.
    """
    return asyncio.run(_Batch(launch, lines, writer, capture=capture).run())


class _Batch:
    """One run. Also the `Driver` of the parts in `batch.host`."""

    def __init__(self, launch: Launch, lines: Iterable[str], writer: Writer, *, capture: bool) -> None:
        self.session = BatchSession(launch, capture=capture)
        self.view = View(self.session.info)
        self.width = WIDTH
        self.numbered: dict[int, str] = {}
        self.last_display = 0
        self.frame: int | None = None
        self._lines = deque(lines)
        self._files = 0
        self._writer = writer
        self._changed = asyncio.Event()
        self._todo: list[Coroutine[Any, Any, Told | None]] = []
        self._failed = 0
        self._left: str = ""
        """"quit" or "detach", once that was said."""
        self._told_stop = 0
        self._again = (m.Action.NEXT, 0)
        """What is to be done again at the next stop, and how often."""
        self._interrupted = 0
        self._asked: Any = None
        """The question under way."""
        self._heard = asyncio.Event()
        """Whether a Ctrl-C has come for it."""
        self._stuck = False
        """Whether it was cancelled in vain."""
        self._host: Any = BatchHost(self)
        self._host.breakpoints = self._breakpoints = Breakpoints(self)
        self._host.parameters = Parameters(self)
        self._host.inside, self._host.leaks, self._host.memory = Inside(self), Leaks(self), MemoryView(self)

    async def run(self) -> int:
        """See `run_batch`."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._signal, number)
        self._writer.start(self.session.info)
        await self.session.start()
        reader = asyncio.create_task(self._read())
        try:
            await self._commands()
            if self._left == "quit":
                await self.session.close()
            elif self.session.stop is not None and self.session.stop.reason is StopReason.FINISHED:
                self.session.resume(m.Action.CONTINUE)
            else:  # of an exception as well: one that the script handles (`post_mortem`) is not its end
                self.session.detach()
            await reader
        finally:
            await self.session.close()
        exited = self.session.exited or Exited(0)
        self._writer.exit(self.session.info.title, exited, self._failed)
        if self._failed:
            return FAILED
        return 0 if self._left == "quit" else exited.status

    def _signal(self, number: int) -> None:
        """Ctrl-C cancels the command that is answered, or a condition that takes a while. Else it goes to the script as
        well, which does with it what it does; a second one ends it, as SIGTERM does.
        """
        if number == signal.SIGINT:
            if self._asked is not None:
                self._heard.set()
                if self.session.cancel(self._asked):
                    asyncio.get_running_loop().call_later(VAIN, self._tell_stuck, self._asked)
                if not self._stuck:
                    return
                self._interrupted += 1
            elif self.view.evaluating is not None and not self.view.evaluating.stuck:
                self.session.cancel_evaluation()
                return
        self._interrupted += 1
        if number == signal.SIGTERM or self._interrupted > 1:
            self._left = "quit"
            self._failed += 1
            self._ending = asyncio.create_task(self.session.close())

    def _tell_stuck(self, query: Any) -> None:
        if self._asked is query:
            self._stuck = True
            self._writer.warning("it waits for a call that cannot be interrupted: Ctrl-C once more ends the script")

    async def _read(self) -> None:
        async for event in self.session.events():
            if isinstance(event, Output):
                self._writer.output(event.data)
            elif isinstance(event, m.Warned):
                self._writer.warning(event.text)
            elif isinstance(event, m.Logged):
                self._writer.log(event)
            elif isinstance(event, Evaluating) and not event.what:
                self._interrupted = 0  # it was for this
            if isinstance(event, m.Stopped):
                self.frame = None
            if not isinstance(event, ConnectionLost):
                self.view = store.apply_event(self.view, event)
            self._changed.set()

    async def _settled(self) -> None:
        """Until the script is held or has ended; a stop is told once."""
        while self.view.status is not Status.ENDED:
            stop = self.session.stop
            if stop is not None and self.view.status is Status.STOPPED and self.view.history[-1].stop is stop:
                break
            self._changed.clear()
            await self._changed.wait()
        if self.view.status is Status.STOPPED and self.view.history[-1].stop.number != self._told_stop:
            stop = self.view.history[-1].stop
            self._told_stop = stop.number
            self._writer.stop(stop)
            self._lines.extendleft(reversed(self._breakpoints.on_hit(stop)))
            with suppress(SessionClosedError, RequestError):
                watched = await self._breakpoints.watched()
                if watched is not None:
                    self._writer.answer("watch", watched)
            if self.numbered:
                told = await self.displays()
                if told is not None:
                    self._writer.answer("display", told)

    async def _commands(self) -> None:
        await self._settled()
        while self._lines and not self._left:
            line = self._lines.popleft().strip()
            self._writer.command(line)
            try:
                await self._run(line)
            except (UsageError, RequestError, SessionClosedError) as error:
                self._fail(line, str(error))
            except Exception as error:  # a defect of ours is told as well, and the rest goes on
                self._fail(line, f"stepdbg failed: {type(error).__name__}: {error}".split("\n")[0])
            await self._settled()
            await self._repeat()

    async def _repeat(self) -> None:
        """Go on as often as `next 3` says, until the script is held for another reason."""
        while self._again[1] and self.view.status is Status.STOPPED:
            action, more = self._again
            stop = self.view.history[-1].stop
            if stop.reason is not StopReason.STEP or needs_next(self.view) is not None:
                break
            self._again = (action, more - 1)
            self.session.resume(action)
            await self._settled()
        self._again = (m.Action.NEXT, 0)

    async def _run(self, line: str) -> None:
        parsed = parse(line)
        name = parsed.command.name
        reason = parsed.command.available(self.view)
        if reason is not None:
            raise UsageError(f"{name}: {reason}")
        try:
            parsed.command.run(self._host, parsed.argument)
            while self._todo:
                told = await self._todo.pop(0)
                if told is not None:
                    if told.failed:
                        self._failed += 1
                    self._writer.answer(line, told)
        finally:
            for work in self._todo:
                if inspect.iscoroutine(work):
                    work.close()
            self._todo.clear()

    def _fail(self, line: str, text: str) -> None:
        self._failed += 1
        self._writer.error(line, text)

    # ── for the parts ───────────────────────────────────────────────────────────────────────────────────────

    async def ask(self, query: Any, progress: Callable[[m.Working], None] | None = None) -> Any:
        """As `Session.request`."""
        self._asked, self._stuck = query, False
        self._heard.clear()
        try:
            answer = await self.session.request(query, progress)
        except RequestCancelledError:
            raise
        except RequestError as error:
            if str(error).startswith("cancelled"):
                # By a Ctrl-C of which the script's side has heard first: ours must not be taken for another one.
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._heard.wait(), BOTH)
            raise
        finally:
            self._asked = None
        if isinstance(answer, Book) and self.view.history:
            self.view = store.apply_answer(self.view, self.view.history[-1].stop.number, query, answer)
        return answer

    def later(self, work: Coroutine[Any, Any, Told | None]) -> None:
        """To be awaited before the next command."""
        self._todo.append(work)

    def resume(self, action: m.Action, target: Target | None = None, *, times: int = 1) -> None:
        """Let the script go on; the next command waits for the last of the stops."""
        self._again = (action, times - 1)
        self.session.resume(action, target)

    def leave(self, *, detach: bool) -> None:
        """No more commands."""
        self._left = "detach" if detach else "quit"

    def insert(self, name: str) -> None:
        """Run the commands in that file next. Raises UsageError."""
        self._files += 1
        if self._files > DEEPEST:
            raise UsageError(f"source {name}: {DEEPEST} files have been run already; does one run itself?")
        self._lines.extendleft(line for _, line in reversed(check_file(name)))

    async def displays(self) -> Told | None:
        """What is displayed, as it is now."""
        lines, records = [], []
        for number, text in list(self.numbered.items()):
            with suppress(SessionClosedError):
                try:
                    answer: Evaluated = await self.ask(Evaluate(0, text, self.frame))
                except RequestError as error:
                    lines.append(f"{number}  {text} = {error}")
                else:
                    lines.append(f"{number}  {text} = {plain_words.brief(answer, self.width)}")
                    records.append(answer)
        return Told(lines, records) if lines else None


def check_file(name: str) -> list[tuple[int, str]]:
    """The lines of a file of commands. Raises UsageError naming the first that cannot be read."""
    lines = lines_of(name)
    for number, line in lines:
        try:
            parse(line)
        except UsageError as error:
            raise UsageError(f"{name}:{number}: {error}") from None
    return lines
