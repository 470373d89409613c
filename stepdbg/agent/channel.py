"""The agent's end of the socket: polled while running, waited on while stopped. No thread of its own."""

from __future__ import annotations

import errno
import select
import socket
from collections import deque
from typing import Any

from stepdbg.errors import LocalProtocolError, ProtocolError
from stepdbg.protocol.connection import Connection
from stepdbg.protocol.states import Role, State


class ChannelClosedError(Exception):
    """The screen's side is gone (or speaks nonsense, which comes to the same)."""


class Channel:
    """Blocking sends, non-blocking polls. Not thread-safe: the caller holds the agent's lock."""

    def __init__(self, sock: socket.socket) -> None:
        self.closed_by_script = False
        """Whether it was not the screen that ended the conversation: the script has closed our file descriptor."""
        self._sock: socket.socket | None = sock
        sock.setblocking(True)
        self._connection = Connection(Role.AGENT)
        self._inbox: deque[Any] = deque()
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)

    @property
    def state(self) -> State:
        """Where the session stands."""
        return self._connection.state

    def send(self, message: Any) -> None:
        """Write one message. Raises ChannelClosedError when nobody reads any more."""
        if self._sock is None:
            raise ChannelClosedError
        try:
            self._sock.sendall(self._connection.send(message))
        except LocalProtocolError:
            if self._connection.state is State.CLOSED:
                raise ChannelClosedError from None
            raise
        except OSError as error:
            self._note(error)
            raise ChannelClosedError from None

    def poll(self) -> Any | None:
        """The next message if one has come, else None; about a microsecond. Raises ChannelClosedError."""
        if not self._inbox and self._poll.poll(0):
            self._read()
        return self._inbox.popleft() if self._inbox else None

    def wait(self) -> Any:
        """The next message; sleeps until one comes, with the GIL released. Raises ChannelClosedError."""
        while not self._inbox:
            self._poll.poll()
            self._read()
        return self._inbox.popleft()

    def arrived(self, state: State = State.STOPPED) -> deque[Any]:
        """What has come and waits for its turn, in order; the caller may take out of it. Raises ChannelClosedError.
        `state`: the one in which the caller asks.

        Once the screen has let the script go on, no more is read: the end of the stream may follow at once, and what
        came before it must be heeded first.
        """
        if self.state is state and self._poll.poll(0):
            self._read()
        return self._inbox

    def close(self) -> None:
        """Close the socket; safe to call twice."""
        if self._sock is not None:
            try:
                self._sock.close()
            except OSError as error:
                self._note(error)
            self._sock = None

    def _read(self) -> None:
        if self._sock is None:
            raise ChannelClosedError
        try:
            data = self._sock.recv(64 * 1024)
            if not data:
                raise ChannelClosedError
            self._inbox.extend(self._connection.receive(data))
        except OSError as error:
            self._note(error)
            raise ChannelClosedError from None
        except ProtocolError:
            raise ChannelClosedError from None

    def _note(self, error: OSError) -> None:
        if error.errno in (errno.EBADF, errno.ENOTSOCK):
            self.closed_by_script = True
