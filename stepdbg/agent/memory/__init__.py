"""Bytes held at a stop: which, for what, and by whom.

`account.py` counts them by category, each storage once.
"""
