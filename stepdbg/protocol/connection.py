"""A connection without I/O: bytes in, messages out, and the other way round, with the session's rules applied.

A frame is the length of its body as four bytes, big end first, then the body: one message as `codec.encode` writes it.
"""

from __future__ import annotations

import struct
from typing import Any

from stepdbg.errors import RemoteProtocolError
from stepdbg.protocol import codec
from stepdbg.protocol.states import Role, SessionState, State

_LENGTH = struct.Struct(">I")


class Connection:
    """One side of the conversation. The caller moves the bytes."""

    def __init__(self, role: Role) -> None:
        self._session = SessionState(role)
        self._buffer = bytearray()

    @property
    def state(self) -> State:
        """Where the session stands."""
        return self._session.state

    def send(self, message: Any) -> bytes:
        """The frame to write for `message`. Raises LocalProtocolError, and then nothing has changed."""
        body = codec.encode(message)
        self._session.sending(message)
        return _LENGTH.pack(len(body)) + body

    def receive(self, data: bytes) -> list[Any]:
        """The messages that `data` completes, in order.

        Raises RemoteProtocolError on the first that is malformed, too long or not allowed now; the connection is then
        closed, since nothing after it can be trusted.
        """
        self._buffer += data
        result = []
        try:
            while len(self._buffer) >= _LENGTH.size:
                (length,) = _LENGTH.unpack_from(self._buffer)
                if length > codec.MAX_MESSAGE:
                    raise RemoteProtocolError(f"a frame of {length} bytes, more than {codec.MAX_MESSAGE}")
                end = _LENGTH.size + length
                if len(self._buffer) < end:
                    break
                message = codec.decode(bytes(self._buffer[_LENGTH.size : end]))
                self._session.received(message)
                del self._buffer[:end]
                result.append(message)
        except RemoteProtocolError:
            self._session.closed()
            raise
        return result

    def close(self) -> None:
        """The bytes have ended. Raises RemoteProtocolError if they did so inside a frame."""
        self._session.closed()
        if self._buffer:
            left = len(self._buffer)
            self._buffer.clear()
            raise RemoteProtocolError(f"the connection ended inside a frame ({left} bytes of it had come)")
