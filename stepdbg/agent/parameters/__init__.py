"""What the parameter pane shows: which rows there are, in which order, and what is told of those on the page.

`entries` names tensors, `readings` reads each at most once a stop, `facts` tells quantities of them, `plan` arranges
them as rows, `rows` makes the records, `listing` answers. `marks` is what one stop leaves to the next, `passes` counts
backwards into each gradient.
"""
