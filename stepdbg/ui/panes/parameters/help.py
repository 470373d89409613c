"""The keys of the parameter pane, and its help: a word for every sign, column and key."""

from __future__ import annotations

from textual.binding import Binding, BindingType

KEYS: list[BindingType] = [
    Binding("f", "columns", "Choose columns", show=False),
    Binding("m", "tree", "Module tree or list", show=False),
    Binding("comma", "sort(-1)", "Sort by the column before", show=False),
    Binding("full_stop", "sort(1)", "Sort by the column after", show=False),
    Binding("R", "reverse", "Reverse the order", show=False),
]
"""Those of the table are its own."""

HELP = """\
Which parameters moved, by how much, in which direction, and is that healthy? `f` chooses the columns; those of the
lowest rank leave when there is no room. What a column needs is read of the rows on screen only.

| column | meaning |
|---|---|
| **name** | as in `named_parameters()`, after the root module's name; `…` cuts it at the left |
| **shape**, **dtype** | `?` for a lazy parameter that has no shape yet; `Σ`: elements of all that is below |
| **\\|w\\|** | 2-norm of the value, over its finite elements |
| **\\|g\\|** | 2-norm of the gradient; `none`: `.grad` is None |
| **g is** | what the gradient's numbers are: scaled (by GradScaler), unscaled, clipped |
| **\\|Δw\\|** | 2-norm of what its optimizer's last step changed, once a step was stepped through |
| **Δw/w** | \\|Δw\\| / \\|w\\|, about 0.001 in a healthy run; `high` above 0.1, `low` below 0.00001 |
| **changed** | since the stop before: `value`, `grad`, both, `–` neither, `?` no earlier record |
| | `▲` `▼`: \\|w\\| is larger, smaller than when it was seen last |
| **trend** | \\|g\\| as it was seen at the last stops, one block for each gradient; only what was on screen |
| **owner** | the optimizer and its parameter group; `nobody`: no optimizer will ever step it |
| **reached** | `● yes`: the loss's graph arrives here; `○ no`: not in the graph; blank: no graph recorded |
| | `● unowned`: reached, but no optimizer holds it; `○ unused`: an optimizer holds it, but not reached |
| | `– frozen`: takes no gradient; `shared`: used in more than one place, or under more than one name |
| **nan/inf** | how many NaN and Inf elements there are in the value (`in w`) and the gradient (`in g`) |
| **passes** | backward passes added into `.grad` since it was cleared; `loop 2`: the loop's, its own are not known |
| **mean** **std** **min** **max** **zeros** | of the value's finite elements; **g.mean** and so on of the gradient's |
| **module** **device** **numel** **bytes** **trainable** **lr** **wd** | class of its module; wd: weight decay |
| **remark** | why it is not reached, where that can be told; what is odd about it; its other names |
| `▌` | the cursor: the values pane follows it |
| `◂` | the node selected in the graph leads to it |
| `▾` `▸` | unfolded, folded: buffers and optimizer state stand at the end of the list |
| `▿` | in the tree: a module whose buffers are left out, `l` shows them |
| `▼` `▲` above | rows are sorted by this column, the largest first, the smallest first |

```text
up down ctrl+k j   move (vim's k is skip here); g G first and last row; ctrl+u ctrl+d by page
f                  choose columns; :columns name, |w|, mean does it by name, :columns default goes back
. ,                sort by the column after, before; before the first is the model's own order; R reverses
m                  modules as a tree, with totals of the parameters shown below each (norms: of all of them together)
right l            unfold, or go to the first row below        left h   fold, or go to the row above
- = +              fold all, as at first, unfold all with buffers and optimizer state
enter              fold or unfold; select; apply again what was cancelled
```

`:sort -g.norm` sorts by any quantity, the largest first; `:sort` returns to the model's order. `/` filters: terms are
joined by `and` or a comma.

| term | shows |
|---|---|
| `bias` `encoder.*` | what has that in its name, owner or dtype; with `*`, `?` or `[`, names that match whole |
| `g.norm > 10` `nan > 0` | numbers, by `=` `!=` `<` `<=` `>` `>=`: `norm` `g.norm` `delta` `ratio` `mean` `std` `min` |
| | `max` `zeros` (in %) `nan` `inf` `numel` `bytes` `lr` `wd` `passes`; `g.mean` and so on of the gradient |
| `owner = none` `dtype = float16` | texts, also as globs: `name` `module` `shape` `dtype` `device` `owner` `grad` |
| `trainable = no` `moved = yes` | yes or no |
| `delta = none` | what is not there, or not known: no other comparison finds that |
| `is:unowned` `is:unused` `is:reached` `is:unreached` `is:shared` `is:frozen` | that mark (see the lower border) |

A sort or a predicate by a statistic reads the whole model once a stop; `escape` stops it.
"""
