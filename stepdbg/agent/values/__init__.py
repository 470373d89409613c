"""The numbers of single tensors: parameters, expressions in the script's variables, outputs of marked modules.

`pages.py` answers the queries; `subjects.py` finds what a name means; `sides.py` reads value, gradient and difference
alike; `show.py` evaluates expressions; `outputs.py` keeps what marked modules put out.
"""
