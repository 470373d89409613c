"""What the system and the CUDA allocator say of this process. CUDA is never initialised for it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from stepdbg.protocol.memory import DeviceBytes


def peak_resident() -> int | None:
    """Most resident bytes that this process ever had; None where the system does not tell."""
    try:
        for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    try:
        import resource  # not everywhere
    except ImportError:
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Kibibytes, but on macOS bytes.
    return most if sys.platform == "darwin" else most * 1024


def devices() -> tuple[DeviceBytes, ...]:
    """Each CUDA device on which torch's allocator has reserved memory. Nothing before the script has used CUDA."""
    cuda: Any = sys.modules.get("torch.cuda")
    if cuda is None or not getattr(cuda, "_initialized", False):
        return ()
    found = []
    for index in range(cuda.device_count()):
        peak = cuda.max_memory_reserved(index)
        if peak:
            found.append(
                DeviceBytes(
                    f"cuda:{index}",
                    cuda.memory_allocated(index),
                    cuda.memory_reserved(index),
                    cuda.max_memory_allocated(index),
                    peak,
                )
            )
    return tuple(found)
