"""The exceptions of stepdbg.

StepdbgError
├── UsageError            bad input: one line that names the mistake and the right form (exit code 2)
├── ProtocolError
│   ├── LocalProtocolError    our side broke the rules: a bug of ours, nothing was sent
│   └── RemoteProtocolError   the other side did: the connection is of no more use
├── RequestError          the agent answered a request with Failed; str() is its one line
│   └── RequestCancelledError     since we had said that its answer is not wanted any more
└── SessionClosedError    the script or the connection to it is gone
"""

from __future__ import annotations

__all__ = [
    "LocalProtocolError",
    "ProtocolError",
    "RemoteProtocolError",
    "RequestCancelledError",
    "RequestError",
    "SessionClosedError",
    "StepdbgError",
    "UsageError",
]


class StepdbgError(Exception):
    """Base of all errors that stepdbg raises on purpose."""


class UsageError(StepdbgError):
    """The user's input cannot be used; the message is one line with the right form in it."""


class ProtocolError(StepdbgError):
    """A rule of the protocol was broken."""


class LocalProtocolError(ProtocolError):
    """Our own side tried to say what it may not say now. Nothing was sent and no state changed."""


class RemoteProtocolError(ProtocolError):
    """The other side sent what cannot be decoded, or may not be said now."""


class RequestError(StepdbgError):
    """The agent could not answer a request."""


class RequestCancelledError(RequestError):
    """The answer was not wanted any more, and the agent has given it up."""


class SessionClosedError(StepdbgError):
    """The script's process has ended or the connection to it is closed."""
