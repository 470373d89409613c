"""An answer that takes a while: how far it is, and whether anybody still wants it.

The agent has one thread, the script's: who makes the answer looks up now and then (`Work.step`), and what has come on
the socket meanwhile is heeded there. So a key pressed during a long walk is heard within a few thousand nodes.
"""

from __future__ import annotations

from time import perf_counter

from stepdbg.agent.channel import Channel
from stepdbg.agent.interrupts import Interrupts
from stepdbg.errors import LocalProtocolError
from stepdbg.protocol import messages as m
from stepdbg.protocol.states import State

WORKING_EVERY = 0.15
"""Seconds before the first Working and between two: what is answered sooner costs no message, and no repaint, which
takes as much processor time as walking 20,000 nodes.
"""

ON = (m.Resume, m.Detach)
"""What lets the script go on, and so leaves no time for an answer that takes long."""


class GivenUpError(Exception):
    """The answer under way is not wanted any more; the message says how far it had come."""


class NotThereError(Exception):
    """What was asked for does not exist; the message is for the user as it is."""


class Work:
    """One query's answer while it is being made."""

    def __init__(self, channel: Channel, number: int, interrupts: Interrupts | None = None) -> None:
        self._channel, self._interrupts = channel, interrupts
        self._number = number
        self._told = perf_counter()
        self._cancelled = False

    def step(self, done: int, total: int = 0, what: str = "nodes") -> None:
        """So much is done, of `total` if that is known. To be called every few thousand items; takes about 2 µs.

        Raises GivenUpError when the answer is not wanted any more, and again at every further call; ChannelClosedError
        when there is nobody to answer.
        """
        if self.cancelled() or self.overtaken():
            raise GivenUpError(f"cancelled after {done:,} {what}")
        now = perf_counter()
        if now - self._told >= WORKING_EVERY:
            self._told = now
            self._channel.send(m.Working(self._number, done, total, what))

    def cancelled(self) -> bool:
        """Whether a Cancel of this query has come, or a Ctrl-C. Those of queries that wait are followed on the way."""
        if self._interrupts is not None and self._interrupts.came:
            self._cancelled = True
        inbox = self._channel.arrived()
        for cancel in [message for message in inbox if isinstance(message, m.Cancel)]:
            inbox.remove(cancel)
            self._cancelled = self._cancelled or cancel.id == self._number
            for query in [message for message in inbox if isinstance(message, m.QUERIES) and message.id == cancel.id]:
                inbox.remove(query)
                self._say(m.Failed(query.id, "cancelled"))
        return self._cancelled

    def overtaken(self) -> bool:
        """Whether the script is to go on."""
        return any(isinstance(message, ON) for message in self._channel.arrived())

    def end(self, outcome: m.Reply | m.Failed) -> None:
        """Send how it went; an answer that is too long for one message is none."""
        try:
            self._say(outcome)
        except LocalProtocolError as error:
            self._say(m.Failed(self._number, str(error)))

    def give_up(self, why: str) -> None:
        """Say so. Where it is because the script is to go on, the queries that came before that are given up too: they
        would hold it up as well.
        """
        self._say(m.Failed(self._number, why))
        inbox = self._channel.arrived()
        while self.overtaken() and not isinstance(inbox[0], ON):
            message = inbox.popleft()
            if isinstance(message, m.QUERIES):
                self._say(m.Failed(message.id, "cancelled: the script went on"))

    def _say(self, outcome: m.Reply | m.Failed) -> None:
        if self._channel.state in (State.STOPPED, State.RESUMING):  # after a Detach nobody listens
            self._channel.send(outcome)
