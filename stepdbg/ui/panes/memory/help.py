"""What the memory pane shows, for the help screen."""

HELP = """\
Bytes at this stop, and the change since the stop before (`+` `−`, `=` the same). Every number but those marked `≈` is
counted, not estimated.

| | |
|---|---|
| **parameters** | of modules and optimizers; and leaf tensors that require grad |
| **gradients** | their `.grad` |
| **optimizer state** | every tensor in `optimizer.state` |
| **buffers** | of modules |
| **saved for backward** | what the live graph keeps besides; 0 once backward has freed it |
| **held for training** | the sum of these five |
| **other tensors** | all else that Python knows of; counted while this pane has the keys: a pass over all objects |
| **process** | resident memory with libraries and caches, and the most it ever was |
| **cuda:0** | what torch's allocator has given out and reserved, and the most of each |
| **debugger's own** | all that stepdbg takes; its records are estimated while this pane has the keys; in no other row |
| **earlier values** | of it: copies of what a step started from and of earlier stops, at most `--previous-values` |

Each storage is counted once, in the first row that holds it (parameters, buffers, gradients, state, saved, others):
a view or an expanded tensor is the storage it is cut from. What a hook has packed to a disk takes nothing.

The bars stack the five rows of `■`, the first at the bottom, one bar for each boundary that was looked at or passed
(also inside `i`). Below each is what had just run: `d`ata `z`ero_grad `f`orward `l`oss `b`ackward `u`nscale `c`lip
`s`tep sc`h`eduler, `?` if the graph's bytes are not known, and `▲` for the peak of what is shown. In a forward what is
saved only grows: it is the most at the module that saved last. Inside a backward more may be held than before and after
it, since gradients come while the graph is not given back yet: then it has a second bar, estimated (`≈`) from the graph
in the order in which autograd runs it. What is in no category, such as the gradients that flow, is in no bar: the peak
of the process, or of CUDA, has that.

Gradients are *summed in place*: without `zero_grad` their values grow, not their bytes. Bytes grow from
stop to stop when a graph is kept alive, as `total += loss` does. `M` shows modules and parameters one by one.
"""
