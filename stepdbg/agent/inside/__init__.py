"""Holding the script inside a phase: at module calls, operations, autograd nodes and single parameters."""
