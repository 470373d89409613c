"""What the system says of the script's process."""

from __future__ import annotations

import psutil


def resident_bytes(pid: int) -> int | None:
    """Physical memory of the process in bytes (one read of /proc); None when it cannot be read."""
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return None
