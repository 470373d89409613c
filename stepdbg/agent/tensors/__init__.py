"""Numbers out of tensors: norms of many, statistics of one or many. Call everything inside `quiet()`.

Non-finite elements are counted apart and left out of every other statistic. Low-precision types are widened before
they are summed. Whatever cannot be shown is said in words (`note`), never raised.

`elements` finds out what a tensor's elements are, whatever kind of tensor it is; `pieces` reads them in the order of
memory; `moments` counts and sums; `histogram`, `norms` and `summary` make what is shown.
"""

from stepdbg.agent.tensors.elements import dtype_name, nbytes, readable, shape_of
from stepdbg.agent.tensors.histogram import SAMPLE
from stepdbg.agent.tensors.norms import Norm, norms
from stepdbg.agent.tensors.summary import COLUMNS, statistics, statistics_of_many

__all__ = [
    "COLUMNS",
    "SAMPLE",
    "Norm",
    "dtype_name",
    "nbytes",
    "norms",
    "readable",
    "shape_of",
    "statistics",
    "statistics_of_many",
]
