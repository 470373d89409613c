"""Going to the background and coming back, heard between two pieces of work.

Textual hears of both in plain signal handlers, which Python runs wherever the main thread is just then. They write to
the terminal through a queue, and a handler that runs in the middle of a write waits for ever for the lock that its own
thread holds.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from typing import Any


def heard_in_turn(driver: Any) -> None:
    """Let the loop that runs call Textual's handlers. Drivers without any (no terminal, Windows) stay as they are."""
    if threading.current_thread() is not threading.main_thread():
        return
    loop = asyncio.get_running_loop()
    for name, handler in (("SIGTSTP", "_sigtstp_application"), ("SIGCONT", "_sigcont_application")):
        if hasattr(driver, handler):
            loop.add_signal_handler(getattr(signal, name), getattr(driver, handler))
