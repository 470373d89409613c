"""The commands that plot."""

from __future__ import annotations

from stepdbg.commands.command import Argument, Command

PLOTTED = ("loss", "grad", "lr", "ratio", "all")
"""What `plot` takes."""

PLOTS = (
    Command(
        "plot",
        "Plots",
        "Plot loss, gradient norm, learning rate and update ratio over iterations.",
        lambda host, argument: host.plots.show_plots(argument),
        keys=("T",),
        aliases=("trends",),
        argument=Argument(
            "what",
            "one of them, or all",
            PLOTTED,
            required=False,
            also={"gradient": "grad", "rate": "lr", "update": "ratio"},
        ),
    ),
)
