"""What a function of torch's was given, told without using it up: an iterator can be read only once, by torch."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn import Module

from stepdbg.agent import frames
from stepdbg.agent.submodules import submodules


def tensors_given(given: Any) -> list[Tensor] | None:
    """The tensors in an argument such as `parameters` or `inputs`; None: an iterator whose items are not known.

    Those of `module.parameters()`, from which nothing has been taken yet, are.
    """
    if isinstance(given, Tensor):
        return [given]
    if type(given) in (list, tuple, dict):
        return [t for t in (given.values() if type(given) is dict else given) if isinstance(t, Tensor)]
    frame = getattr(given, "gi_frame", None)
    if frame is not None and given.gi_code is Module.parameters.__code__ and frame.f_lasti <= _START:
        own = frames.variables(frame)
        module = own.get("self")
        if isinstance(module, Module) and own.get("recurse") is True:
            return _all_parameters(module)
    return None


def _all_parameters(module: Module) -> list[Tensor]:
    """As `module.parameters()`, in its order: results are told apart by their places."""
    held = (own for each in submodules(module) for own in each.__dict__.get("_parameters", {}).values())
    return list({id(parameter): parameter for parameter in held if isinstance(parameter, Tensor)}.values())


def _not_begun() -> int:
    fresh = Module().parameters()
    return int(fresh.gi_frame.f_lasti)  # type: ignore[attr-defined]


_START = _not_begun()
"""Where a generator of `Module.parameters` stands that nothing has been taken from."""
