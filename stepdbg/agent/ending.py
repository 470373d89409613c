"""Post-mortem and the end of a script that never imported torch: it must not be us who import it.

The same conversation as `control` holds, with the little there is to tell. Standard library only.
"""

from __future__ import annotations

import threading
from typing import Any

from stepdbg.agent import frames, sources
from stepdbg.agent.channel import Channel, ChannelClosedError
from stepdbg.protocol import codec
from stepdbg.protocol import messages as m
from stepdbg.protocol.records import ExceptionInfo, StopReason, StopRecord

NOTE = "Nothing of a training loop was seen: the script did not import torch."


def hold(channel: Channel, hello: m.Hello, error: BaseException | None, text: str) -> bool:
    """Say Hello, hold the script once, and return when it may go on; False when the screen is gone."""
    stack = [] if error is None else frames.of_traceback(error.__traceback__)
    described, here = frames.describe(stack)
    stop = StopRecord(
        number=1,
        reason=StopReason.FINISHED if error is None else StopReason.EXCEPTION,
        iteration=1,
        micro_batch=1,
        just_ran=(),
        next=None,
        inside=(),
        rail=(),
        loss=None,
        stack=described,
        here=here,
        thread=threading.current_thread().name,
        elapsed=0.0,
        rate=None,
        exception=None if error is None else ExceptionInfo(type(error).__name__, str(error), text),
        note=NOTE,
    )
    try:
        channel.send(hello)
        channel.send(m.Stopped(stop))
        while not isinstance(message := channel.wait(), (m.Resume, m.Detach)):
            if not isinstance(message, m.Pause):
                channel.send(_answer(message))
        if isinstance(message, m.Resume):
            channel.send(m.Continued(message.action))
    except ChannelClosedError:
        return False
    return True


def _answer(query: Any) -> m.Reply | m.Failed:
    if isinstance(query, m.GetSource):
        return m.Reply(query.id, codec.to_plain(sources.read(query.file)))
    return m.Failed(query.id, "the script did not import torch")
