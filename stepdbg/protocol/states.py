"""The state of a session, and who may say what in it. No I/O.

    state      agent may send                      screen's side may send       next state
    ─────────  ──────────────────────────────────  ───────────────────────────  ─────────────────────────
    STARTING   Hello                                                            → RUNNING
    RUNNING    Progress, Warned, Logged,           Pause, Cancel, Detach        (stays)
               Evaluating
    RUNNING    Stopped                                                          → STOPPED
    STOPPED    Reply, Failed, Working, Warned      queries, Cancel, Pause       (stays)
    STOPPED                                        Resume                       → RESUMING
    STOPPED                                        Detach                       → RUNNING
    RESUMING   Reply, Failed, Working, Warned      Pause                        (stays; earlier queries' answers)
    RESUMING   Continued                                                        → RUNNING
    any        (the connection closes)                                          → CLOSED

A Resume that cannot be followed (a skip of what cannot be skipped) is refused before it is sent: `StopRecord.next`
says what is skippable. Pause and Stopped may cross on the wire, so a Pause is legal in every state after Hello, and a
Detach or Cancel sent while running may find the agent stopped.

An illegal message raises and changes nothing.
"""

from __future__ import annotations

from enum import Enum
from typing import Any

from stepdbg.errors import LocalProtocolError, ProtocolError, RemoteProtocolError
from stepdbg.protocol import messages as m
from stepdbg.protocol.breakpoints import Evaluating


class State(Enum):
    """Where a session stands; both sides keep one each."""

    STARTING = "starting"
    RUNNING = "running"
    STOPPED = "stopped"
    RESUMING = "resuming"
    CLOSED = "closed"


class Role(Enum):
    """Which side of the connection we are."""

    AGENT = "agent"
    CLIENT = "client"


_STAY_ANSWERS: tuple[type[Any], ...] = (m.Reply, m.Failed, m.Working, m.Warned)

_AGENT_SAYS: dict[State, dict[type[Any], State]] = {
    State.STARTING: {m.Hello: State.RUNNING},
    State.RUNNING: {
        m.Progress: State.RUNNING,
        m.Warned: State.RUNNING,
        m.Logged: State.RUNNING,
        Evaluating: State.RUNNING,
        m.Stopped: State.STOPPED,
    },
    State.STOPPED: dict.fromkeys(_STAY_ANSWERS, State.STOPPED),
    State.RESUMING: {**dict.fromkeys(_STAY_ANSWERS, State.RESUMING), m.Continued: State.RUNNING},
    State.CLOSED: {},
}

_CLIENT_SAYS: dict[State, dict[type[Any], State]] = {
    State.STARTING: {},
    State.RUNNING: {m.Pause: State.RUNNING, m.Cancel: State.RUNNING, m.Detach: State.RUNNING},
    State.STOPPED: {
        m.Pause: State.STOPPED,
        m.Cancel: State.STOPPED,
        m.Resume: State.RESUMING,
        m.Detach: State.RUNNING,
        **dict.fromkeys(m.QUERIES, State.STOPPED),
    },
    State.RESUMING: {m.Pause: State.RESUMING},
    State.CLOSED: {},
}


class SessionState:
    """The transition table applied to the messages that pass one side of a connection."""

    def __init__(self, role: Role) -> None:
        self.role = role
        self.state = State.STARTING

    def sending(self, message: Any) -> None:
        """Note that `message` is being sent by us. Raises LocalProtocolError if it may not be said now."""
        table = _AGENT_SAYS if self.role is Role.AGENT else _CLIENT_SAYS
        self._apply(table, message, LocalProtocolError)

    def received(self, message: Any) -> None:
        """Note that `message` came from the other side. Raises RemoteProtocolError if it may not be said now."""
        table = _CLIENT_SAYS if self.role is Role.AGENT else _AGENT_SAYS
        self._apply(table, message, RemoteProtocolError)

    def closed(self) -> None:
        """Note that the connection is gone; nothing may be said from now on."""
        self.state = State.CLOSED

    def _apply(self, table: dict[State, dict[type[Any], State]], message: Any, error: type[ProtocolError]) -> None:
        target = table[self.state].get(type(message))
        if target is None:
            raise error(f"{type(message).__name__} may not be said while {self.state.value}")
        self.state = target
