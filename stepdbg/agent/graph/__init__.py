"""The autograd graph behind a loss: walked once, kept as plain data, and shown in two views.

`walk` goes through `next_functions`; `record` is what stays of a walk; `raw` and `modules` lay it out as rows
(`layout`); `rows` folds, searches and finds; `facts` reads single nodes, for the rows that `drawn` makes of them;
`sections` tells who is reached; `edges` is for drawing elsewhere; `shelf` knows which graphs there are; `pages` answers
the queries.
"""
