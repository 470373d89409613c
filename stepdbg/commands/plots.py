"""The commands that plot, and that explain a backward."""

from __future__ import annotations

from stepdbg.commands.available import needs_live
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
    Command(
        "backward",
        "Plots",
        "Explain the backward to a parameter: each node from the loss to it, with the gradient in and out.",
        lambda host, argument: host.chains.explain_backward(argument),
        keys=("E",),
        aliases=("chain",),
        argument=Argument("name", "a parameter; none: the selected one", required=False),
        available=needs_live,
    ),
)
