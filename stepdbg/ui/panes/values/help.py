"""The keys of the values pane, and its help: a word for every sign and every key."""

from __future__ import annotations

from textual.binding import Binding, BindingType

KEYS: list[BindingType] = [
    Binding("v", "display", "Next display", show=False),
    Binding("d", "sides", "What stands side by side", show=False),
    Binding("less_than_sign", "digits(-1)", "Fewer digits", show=False),
    Binding("greater_than_sign", "digits(1)", "More digits", show=False),
    Binding("M", "seek('max')", "To the largest element", show=False),
    Binding("m", "seek('min')", "To the smallest element", show=False),
    Binding("x", "seek('nan')", "To the first NaN or Inf", show=False),
    Binding("y", "copy", "Copy as Python", show=False),
    Binding("at", "held", "Next tensor held inside the phase", show=False),
    Binding("enter", "evaluate", "Evaluate again", show=False),
]
"""Those that move the cursor are the body's own."""

HELP = """\
The selected parameter (chosen in the graph or the parameters pane) and its gradient; or what `:show` names. **min,
max, mean, std, norm** are over the finite elements; std is the population one. **zeros**, **nan**, **+inf**, **−inf**
are counted apart. Of complex numbers all of these, and the heatmap, are about the absolute values.

Numbers run with the last dimension across, all before it down; at the left stands the index in those, `3,0,2`.
The cursor's element is in the lower border, with its exact value as `.item()` gives it. `…` marks numbers that have
not been received. The blocks are a histogram between the two numbers at its ends; only an empty bin is blank.
*sampled N of M*: it was made from a sample; all other numbers are exact. *gradient (scaled)*, *(unscaled)*,
*(clipped)* tell which of the gradients it is.

```text
up down ctrl+k j   move the cursor (vim's k is skip here)
left right h l     the same, across
ctrl+u ctrl+d g G  by a page; first and last row
v                  numbers, heatmap, histogram, log-histogram, summary
d                  value and gradient; value, previous and difference; all that fit
< >                fewer, more significant digits
M m x              go to the largest, the smallest, the first NaN or Inf
y                  copy as Python: torch.tensor([...], dtype=...), at most 10,000 elements
enter              evaluate an expression again
@                  inside a phase: the next of the tensors that are there
```

`:slice 0, :, 3` shows a part of a tensor of any rank: an index, a range `a:b` or `...` for each dimension, negative
ones from the end. `:slice` alone shows the whole. Statistics, histogram and colours are those of the part.
`:goto 3, 0, 2` and `:goto max` (`min`, `nan`; `:goto max grad` in the gradient) move the cursor, `:precision 3` sets
the digits, `:form heatmap` the form.

**previous** is the value before the optimizer's last step that was stepped through, **difference** is value minus
previous.

**heatmap**: from minus to plus the largest absolute value, zero in the middle: the darker, the nearer to zero; exactly
zero is grey. `−` marks negative cells, `✕` NaN, `∞` Inf, `◆` the cursor. Without colours shades `░▒▓█` stand for size.

**`:show EXPR`** shows any expression in the variables of the line where the script is stopped: `:show batch[0]`,
`:show net[0].weight.grad.T`, `:show loss`. `:show -` returns to the selected parameter. It is evaluated anew at every
stop, without recording a graph; the random states of torch, Python and NumPy are put back after it (not those of
generators of your own). Statements are refused. But a call in it runs your code, with whatever that does to your
objects, and so may reading a property: an expression with a call is evaluated when you ask, and at a later stop
only when you press `enter`.

**Inside a phase** (`s`) the pane shows what is there: before a module or an operation its `@input[0]`, after it its
`@output`; before a node of backward `@grad_in[0]`, after it `@grad_out[0]` and `@self.grad` of a leaf; in a step
before an update `@value` and `@grad`, after it `@after`, `@before` and `@change`; of a clipping `@norm`,
`@coefficient`. `@` goes through them, `:show @input[1]` names one, `:show -` or choosing a parameter shows that
instead. They are there until the script goes on.

**Outputs of modules**: `m` on a module in the graph pane, or `:mark net.2`, keeps what the module puts out, from its
next call on until the iteration ends, while stepping: the last 8 calls of it, copies of at most 64 MiB in all. `:show
net.2 output` is the last call's, `:show net.2 output #1` the first one's, `output[1]` the second tensor of several.
`:unmark net.2`, and `:mark` alone lists them.
"""
