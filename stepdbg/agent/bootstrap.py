"""From the start of the script's process to its end: connects, instruments when torch comes, says goodbye.

Order of events: `arm` runs before the script's first line and only leaves hooks behind. When the script imports torch,
the agent says Hello and instruments it. An uncaught exception arrives through `sys.excepthook` (chained; or at exit
from `sys.last_value` where the script has put its own hook in place), the normal end through `atexit`.

Until then nothing is imported that the interpreter itself has not: a `random.py` or `signal.py` beside the script must
be found by the script as in a bare run, where nobody has imported the library's module of that name before.
"""

from __future__ import annotations

import atexit
import os
import sys

from stepdbg.agent.importhook import PostImportHook
from stepdbg.agent.library import StandardLibrary

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType, TracebackType
    from typing import Any

    from stepdbg.agent.channel import Channel
    from stepdbg.protocol import messages as m

_agent: Agent | None = None


def arm(fd: int, settings: str) -> None:
    """Make this the debugged process: `fd` is its end of the socket. Leaves the script to run."""
    global _agent
    try:
        os.set_inheritable(fd, False)
    except OSError:
        return  # not ours after all: run bare
    _agent = Agent(fd, settings)
    _agent.wait_for_torch()


class Agent:
    """Everything of ours in a debugged process."""

    def __init__(self, fd: int, settings: str) -> None:
        self._fd = fd
        self._raw_settings = settings
        self._settings: m.Settings
        self._channel: Channel | None = None
        self._imports = PostImportHook()
        self._control: Any = None
        self._instruments: Any = None
        self._tracker: Any = None
        self._previous_hook = sys.excepthook
        self._died = False
        self._pid = os.getpid()
        self._detached = False

    def wait_for_torch(self) -> None:
        """Leave the hooks that bring us back."""
        sys.excepthook = self._excepthook
        atexit.register(self._at_exit)
        os.register_at_fork(after_in_child=self._in_child)
        self._imports.when_imported("torch", self._torch_imported)

    def connect(self, torch_version: str) -> None:
        """Say Hello, without instrumenting anything yet. Needs torch. Raises OSError, ValueError, ProtocolError."""
        from stepdbg.agent.control import Control
        from stepdbg.agent.tracker import Tracker

        self._tracker = Tracker()
        channel = self._open()
        self._control = Control(self._tracker, channel, self._settings)
        self._tracker.control = self._control
        self._tracker.armed = True
        self._control.detached = self.remove
        self._control.on_gone = self._screen_gone
        self._control.hello(_hello(torch_version))

    def instrument(self) -> None:
        """Put the wrappers in. Needs torch."""
        from stepdbg import custom_phase
        from stepdbg.agent.instrument import Instruments
        from stepdbg.agent.phasemap import await_phases

        self._instruments = Instruments(self._tracker)
        self._instruments.install()
        self._control.known_optimizers = self._instruments.optimizers
        custom_phase.observer = self._tracker
        await_phases(self._instruments, self._imports, self._settings.phases, self._control.warn)

    def remove(self) -> None:
        """Take everything out again; the script runs on bare."""
        if self._detached:
            return
        self._detached = True
        self._imports.close()
        if (custom_phase := sys.modules.get("stepdbg.custom_phase")) is not None:
            custom_phase.observer = None  # type: ignore[attr-defined]
        if self._instruments is not None:
            self._instruments.restore()
        if sys.excepthook == self._excepthook:
            sys.excepthook = self._previous_hook
        atexit.unregister(self._at_exit)

    # ── inside ──────────────────────────────────────────────────────────────────────────────────────────────

    def _open(self) -> Channel:
        import json
        import socket

        from stepdbg.agent.channel import Channel
        from stepdbg.protocol import codec
        from stepdbg.protocol import messages as m

        self._settings = codec.from_plain(m.Settings, json.loads(self._raw_settings))
        self._channel = Channel(socket.socket(fileno=self._fd))
        return self._channel

    def _screen_gone(self) -> None:
        """The conversation is over. A script that closed our socket itself, as daemons do, runs on."""
        from stepdbg.agent import hangup

        if self._channel is None or not self._channel.closed_by_script:
            hangup.end_this_process()

    def _torch_imported(self, torch: ModuleType) -> None:
        try:
            with StandardLibrary():
                self.connect(str(getattr(torch, "__version__", "")))
                self.instrument()
        except Exception as error:
            # Whatever the script has done to the socket or to the modules that we need: it runs, if without us.
            if self._control is not None:
                self._control.broken(error)
            self.remove()
            return
        if self._detached:
            return
        # Handlers run last in, first out: be before those that torch has just registered.
        atexit.unregister(self._at_exit)
        atexit.register(self._at_exit)

    def _excepthook(self, kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        with StandardLibrary():
            from stepdbg.agent import frames

        trace = frames.clean_traceback(trace)
        error.__traceback__ = trace
        if not self._died and os.getpid() == self._pid and not self._detached:
            self._died = True
            self._post_mortem(error)
        self._previous_hook(kind, error, trace)

    def _post_mortem(self, error: BaseException) -> None:
        import traceback

        text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
        if self._control is None:
            self._hold_without_torch(error, text)
        else:
            self._control.post_mortem(error, text)
            self._control.breakpoints.stop()

    def _hold_without_torch(self, error: BaseException | None, text: str) -> None:
        try:
            with StandardLibrary():
                from stepdbg.agent import ending

                channel = self._open()
                hello = _hello("")
        except Exception:
            self.remove()  # as in _torch_imported
            return
        still_there = ending.hold(channel, hello, error, text)
        self.remove()
        if not still_there and self._settings.on_detach == "end":
            self._screen_gone()

    def _at_exit(self) -> None:
        if os.getpid() != self._pid or self._detached:
            return
        error = getattr(sys, "last_value", None)
        if not self._died and isinstance(error, BaseException):
            # The script has put its own excepthook in the place of ours: it has printed, we stop all the same.
            self._died = True
            self._post_mortem(error)
        elif self._control is None and not self._died:
            self._hold_without_torch(None, "")
        elif not self._died:
            self._control.finished()

    def _in_child(self) -> None:
        """A forked child runs bare: only the process that was started is debugged."""
        if self._detached or os.getpid() == self._pid:
            return
        if self._channel is not None:
            self._channel.close()
        else:
            try:
                os.close(self._fd)
            except OSError:
                pass  # the script closed it
        if self._control is not None:
            self._control.breakpoints.stop()
        if self._tracker is not None:
            self._tracker.armed = False
            self._tracker.control = None
        self.remove()


def _hello(torch_version: str) -> m.Hello:
    from stepdbg.protocol import VERSION
    from stepdbg.protocol import messages as m

    return m.Hello(
        version=VERSION,
        pid=os.getpid(),
        python=sys.executable,
        python_version=sys.version.split()[0],
        torch_version=torch_version,
        argv=tuple(str(a) for a in getattr(sys, "argv", ())),
    )
