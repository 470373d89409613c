"""The keys of the graph pane, and its help: a word for every sign and every key."""

from __future__ import annotations

from textual.binding import Binding, BindingType

KEYS: list[BindingType] = [
    Binding("v", "view", "By module, or node by node", show=False),
    Binding("P", "parent", "To the row above it", show=False),
    Binding("L", "leaf", "To the next leaf", show=False),
    Binding("backspace", "back", "Back from a jump", show=False),
    Binding("w", "pick", "Which graph", show=False),
    Binding("d", "gradient", "Graph of the gradient", show=False),
    Binding("a", "watch", "Watch gradients", show=False),
    Binding("y", "copy", "Copy the path", show=False),
    Binding("enter", "again", "Ask again", show=False),
]
"""Those of the tree are its own."""

HELP = """\
What `loss.backward()` will walk (or has walked). The title tells how many parameters of each root module the loss
reaches; a module with `0/4` learns nothing from this loss. There are two views of one graph, `v` changes between
them: **by module**, where what ran inside a module call is folded into it, and **node by node**, as autograd keeps
it. There a row stands under the one that it was computed from next; side branches are indented, and what stands
on one line `│` is one chain. A node that is reached twice is drawn once, and referred to after that.

| sign | meaning |
|---|---|
| `●` `○` | a parameter: its gradient is written here; another leaf tensor that takes a gradient |
| `↑` `↓` | drawn already further up, or further down: `enter` goes there |
| `▾` `▸` | unfolded whole, folded |
| `▿` `▹` | its own nodes are left out: `l` shows them (below `▿` there are rows, below `▹` only such nodes) |
| `⋯12` | twelve levels deep: the guides of the upper ones are left out |
| `●` `◐` `○` | under *who is reached*: all, some, none of its parameters |
| `✕` | a parameter that the loss does not reach, with the cause where it can be told |
| **bold** names | coloured as well: on a path from the loss to the selected parameter |
| `▌` | the cursor |

| mark | meaning |
|---|---|
| `·view` `·in-place` | the output is a view of the input; it wrote into a tensor that was there |
| `·custom` | an `autograd.Function` of the script, or of a library |
| `⟲` | checkpoint: keeps no activations, backward runs this part of the forward again |
| `·compiled` | one region that `torch.compile` made: what is inside has no nodes of its own |
| `·shared` | used in more than one place, or under more than one name |
| `·frozen` | `requires_grad` is False |
| `·unowned` `·unused` | reached, but held by no optimizer; held by one, but not reached |

Columns: **|g|** norm of a parameter's gradient; **∂** norm of the gradient that came through at this place (`3
nan/inf`: so many numbers of it are not finite), once `a` has been pressed before a backward, since that needs hooks;
**shape** and **dtype** of the output (dtype where it is not the usual one); **kept** bytes that the row, with all
below it, keeps for backward: `(768 B)` has been freed, `…` is being measured, or measuring
was stopped. Below the tree stands all that is known
of the row under the cursor. The lower border counts; *recorded at stop 4*: the graph is shown as it was then.

```text
up down ctrl+k j   move (vim's k is skip here); g G first and last row
right l            show more of the row; if there is no more, go to the first one below it
left h             show less of the row; if it is folded, go to the row that it hangs from
enter              fold or unfold; on a reference, go to where it leads
- = +              fold all, as at first, unfold all
v                  by module, or node by node
P L                to the row that this one hangs from; to the next leaf below
backspace          back to where the last such jump began
w                  which graph: choose among those that are there
d                  the graph of this parameter's gradient, after backward(create_graph=True)
a                  watch gradients from the next backward on, or no longer
y                  copy the path from the loss to this row
m                  keep what this module puts out, or no longer: :show net.2 output
escape             stop a walk that takes long; then enter walks again
```

`:export graph.dot` (or `.mmd`, `.md`, `.json`) writes the tree as it is folded here, and `:fold`, `:view`, `:which` and
`:watch` do what the keys do.

`/` leaves only rows with that name, module, op or shape (`32x1`), or with a mark: `is:unreached`, `is:shared`,
`is:view` and so on; and the rows above them. The cursor on a
parameter selects it in all panes; on a module or a node it marks what that leads to.
"""
