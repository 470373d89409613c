"""The command that shows the memory over all panes."""

from __future__ import annotations

from stepdbg.commands.command import Command

MEMORY = (
    Command(
        "memory-view",
        "Memory",
        "Show what each module saved for backward, what is in each gradient, and the largest other tensors.",
        lambda host, _argument: host.memory.show(),
        keys=("M",),
        aliases=("mem",),
    ),
)
