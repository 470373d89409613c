"""How the script ends when its screen has gone."""

from __future__ import annotations

import os
import signal
import threading


def end_this_process() -> None:
    """End like a program whose terminal was closed: by SIGHUP, whatever handler the script has for it."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGHUP)
    os._exit(129)  # not the main thread, where handlers cannot be set: the status a shell shows for SIGHUP
