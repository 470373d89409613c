"""The classic mistake: a module of one's own is called as one that torch needs, so that importing torch fails."""

# ruff: noqa: E402
# e2e: exit=1 raises slow

import sys

sys.path[0] = f"{sys.path[0]}/_shadows_broken"

import torch

print("torch could be imported", torch)
