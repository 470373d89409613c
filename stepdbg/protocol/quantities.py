"""What can be told of one tensor of the model: shown in a column, sorted by, asked for in a predicate. Pure.

A quantity says what it takes to know it (`needs`), so that only what is on screen, sorted by or asked for is read.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from stepdbg.errors import UsageError

NUMBER, TEXT, FLAG = "number", "text", "flag"

FREE, NORM, GRAD_NORM, DELTA, STATS, GRAD_STATS = "", "norm", "g.norm", "delta", "stats", "g.stats"
"""What a quantity needs: nothing; a pass over the value; over the gradient; over the value and the one before the step;
several passes over the value; over the gradient. In rising order of cost."""

COSTS = (FREE, NORM, GRAD_NORM, DELTA, STATS, GRAD_STATS)


@dataclass(frozen=True)
class Quantity:
    """One thing that can be told of a tensor."""

    name: str
    """As it is written in a predicate."""
    kind: str
    needs: str
    help: str
    aliases: tuple[str, ...] = ()


QUANTITIES: tuple[Quantity, ...] = (
    Quantity("name", TEXT, FREE, "as in named_parameters(), after the root module's name"),
    Quantity("module", TEXT, FREE, "class of the module that holds it", ("class", "type")),
    Quantity("shape", TEXT, FREE, "6×4, also written 6x4"),
    Quantity("dtype", TEXT, FREE, "float32, bfloat16 …"),
    Quantity("device", TEXT, FREE, "cpu, cuda:0 …"),
    Quantity("numel", NUMBER, FREE, "number of elements", ("elements", "size")),
    Quantity("bytes", NUMBER, FREE, "bytes of its elements", ("nbytes",)),
    Quantity("trainable", FLAG, FREE, "requires_grad", ("requires_grad",)),
    Quantity("owner", TEXT, FREE, "the optimizer and its group; none: no optimizer holds it", ("optimizer",)),
    Quantity("lr", NUMBER, FREE, "learning rate of its group"),
    Quantity("wd", NUMBER, FREE, "weight decay of its group", ("weight_decay",)),
    Quantity("grad", TEXT, FREE, "dense or sparse; none: there is no gradient", ("g",)),
    Quantity("passes", NUMBER, FREE, "backward passes added into .grad since it was cleared", ("backwards",)),
    Quantity("moved", FLAG, NORM, "the value changed since the stop before"),
    Quantity("norm", NUMBER, NORM, "2-norm of the value", ("|w|", "w.norm")),
    Quantity("g.norm", NUMBER, GRAD_NORM, "2-norm of the gradient", ("|g|", "grad.norm")),
    Quantity("delta", NUMBER, DELTA, "2-norm of the last step's change", ("|Δw|", "|dw|", "dw", "Δw", "Δw.norm")),
    Quantity("ratio", NUMBER, DELTA, "|Δw| / |w|", ("Δw/w", "dw/w", "update")),
    Quantity("mean", NUMBER, STATS, "mean of the value", ("w.mean",)),
    Quantity("std", NUMBER, STATS, "standard deviation of the value", ("w.std",)),
    Quantity("min", NUMBER, STATS, "smallest element of the value", ("w.min",)),
    Quantity("max", NUMBER, STATS, "largest element of the value", ("w.max",)),
    Quantity("zeros", NUMBER, STATS, "percentage of zeros in the value", ("w.zeros", "zeros%")),
    Quantity("nan", NUMBER, GRAD_STATS, "NaN elements in value and gradient together"),
    Quantity("inf", NUMBER, GRAD_STATS, "Inf elements in value and gradient together"),
    Quantity("w.nan", NUMBER, STATS, "NaN elements in the value"),
    Quantity("w.inf", NUMBER, STATS, "Inf elements in the value"),
    Quantity("g.nan", NUMBER, GRAD_STATS, "NaN elements in the gradient"),
    Quantity("g.inf", NUMBER, GRAD_STATS, "Inf elements in the gradient"),
    Quantity("g.mean", NUMBER, GRAD_STATS, "mean of the gradient"),
    Quantity("g.std", NUMBER, GRAD_STATS, "standard deviation of the gradient"),
    Quantity("g.min", NUMBER, GRAD_STATS, "smallest element of the gradient"),
    Quantity("g.max", NUMBER, GRAD_STATS, "largest element of the gradient"),
    Quantity("g.zeros", NUMBER, GRAD_STATS, "percentage of zeros in the gradient", ("g.zeros%",)),
)
"""All of them. Norms and statistics are over the finite elements; the standard deviation has correction 0."""

BY_NAME: dict[str, Quantity] = {
    word.lower(): quantity for quantity in QUANTITIES for word in (quantity.name, *quantity.aliases)
}


EXAMPLES = "numel, dtype, owner, trainable, norm, g.norm, delta, ratio, mean, std, min, max, zeros or nan"


def find(word: str) -> Quantity:
    """The quantity of that name or alias, in any case. Raises UsageError naming the nearest."""
    wanted = word.strip().lower()
    if wanted in BY_NAME:
        return BY_NAME[wanted]
    near = difflib.get_close_matches(wanted, BY_NAME, n=1, cutoff=0.6)
    hint = f"did you mean {BY_NAME[near[0]].name}?" if near else f"for example {EXAMPLES}"
    raise UsageError(f"nothing is called “{word.strip()}”: {hint}")


def read_sort(text: str) -> tuple[str, bool]:
    """Name of the quantity to sort by and whether the largest comes first, from "|g|" or "-g.norm".

    An empty text is the model's own order, ("", False). Raises UsageError.
    """
    word = text.strip()
    if not word:
        return "", False
    falling = word[0] in "-−"
    return find(word[1:] if falling or word[0] == "+" else word).name, falling
