"""What memory would be if gradients were cleared, or another optimizer stepped: estimates, nothing is done."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor

from stepdbg.agent.memory.account import state_tensors
from stepdbg.agent.naming import Names
from stepdbg.agent.saved import count_once, tensor_storages
from stepdbg.agent.work import NotThereError
from stepdbg.protocol.whatif import OPTIMIZERS, Estimate, EstimateRow, GetWhatIf, WhatIfKind

STEP_COUNT = 4
"""Bytes of the float32 step count that torch's optimizers keep of each parameter."""

TITLES = {"adam": "Adam", "adamw": "AdamW", "sgd": "SGD", "rmsprop": "RMSprop", "adagrad": "Adagrad"}

STATE: dict[str, tuple[str, ...]] = {
    "adam": ("exp_avg", "exp_avg_sq", "step"),
    "adamw": ("exp_avg", "exp_avg_sq", "step"),
    "sgd": (),
    "rmsprop": ("square_avg", "step"),
    "adagrad": ("sum", "step"),
}
"""What each optimizer keeps of every parameter: tensors like it, and the step count."""

MORE = {
    ("adam", "amsgrad"): "max_exp_avg_sq",
    ("adamw", "amsgrad"): "max_exp_avg_sq",
    ("sgd", "momentum"): "momentum_buffer",
    ("rmsprop", "momentum"): "momentum_buffer",
    ("rmsprop", "centered"): "grad_avg",
}
"""What an option adds."""


def zero_grad(names: Names, stop: int) -> Estimate:
    """Bytes of gradients that `zero_grad()` of all optimizers would free, either way of clearing."""
    if not names.optimizers:
        raise NotThereError("no optimizer is known at this stop, so nobody's zero_grad() can be estimated")
    other = _known(names)
    rows: list[EstimateRow] = []
    counted: set[int] = set(other)
    dense = sparse = count = 0
    each: list[EstimateRow] = []
    for title, optimizer in names.optimizers.values():
        grads = [g for p in parameters_of(optimizer) if isinstance(g := p.grad, Tensor)]
        here = _bytes((g for g in grads if g.is_sparse), counted)
        there = _bytes((g for g in grads if not g.is_sparse), counted)
        sparse, dense, count = sparse + here, dense + there, count + len(grads)
        each.append(EstimateRow(f"  of {title}", here + there, _gradients(len(grads))))
    left = [g for p in names.parameters if isinstance(g := p.tensor.grad, Tensor)]
    stays = _bytes(left, counted)
    total = dense + sparse
    rows.append(EstimateRow("set_to_none=True frees", total, _gradients(count)))
    rows += each if len(each) > 1 else []
    kept = "sparse ones are emptied" if sparse else "they are written as zeros"
    rows.append(EstimateRow("set_to_none=False frees", sparse, kept if count else ""))
    if stays:
        rows.append(EstimateRow("stays either way", stays, "of parameters that no optimizer holds"))
    answer = f"estimated: set_to_none=True would free {total:,} bytes of gradients, set_to_none=False {sparse:,}"
    if not count:
        answer = "estimated: nothing to free, no parameter that an optimizer holds has a gradient now"
    basis = "Counted from the gradients that are there, each storage once."
    note = "What your own variables or a graph hold as well stays until they let go." if count else ""
    return Estimate(stop, WhatIfKind.ZERO_GRAD, "zero_grad()", tuple(rows), answer, basis, note)


def optimizer(names: Names, stop: int, query: GetWhatIf) -> Estimate:
    """Bytes of state that another optimizer would hold for the parameters that are trained now."""
    name = query.name
    if name not in OPTIMIZERS:
        raise NotThereError(f"no estimate for {name!r}: one of {', '.join(OPTIMIZERS)}")
    for option in query.options:
        if option not in OPTIMIZERS[name]:
            raise NotThereError(f"{name} has no option {option!r} that changes its state")
    if not names.optimizers:
        raise NotThereError("no optimizer is known at this stop: which parameters are trained is not known")
    present = list({id(p): p for _, one in names.optimizers.values() for p in parameters_of(one)}.values())
    stepped = {
        id(p) for _, one in names.optimizers.values() for p in getattr(one, "state", {}) if isinstance(p, Tensor)
    }
    trained = [p for p in present if p.requires_grad]
    seen = [p for p in trained if p.grad is not None or id(p) in stepped]
    # Adagrad makes its state when it is built, of all that it is given.
    counted = present if name == "adagrad" else seen or trained
    kinds = [*STATE[name], *(MORE[name, option] for option in query.options)]
    rows = []
    for kind in kinds:
        like = sum(p.numel() * p.element_size() for p in counted)
        nbytes = STEP_COUNT * len(counted) if kind == "step" else like
        rows.append(
            EstimateRow(kind, nbytes, "one float32 number each" if kind == "step" else "as large as the values")
        )
    total = sum(row.nbytes or 0 for row in rows)
    now = _bytes(_states(names), set())
    title = " ".join([TITLES[name], *(f"with {option}" for option in query.options)])
    holders = ", ".join(dict.fromkeys(type(one).__name__ for _, one in names.optimizers.values()))
    rows += [
        EstimateRow("state in all", total, f"for {_parameters(len(counted))}"),
        EstimateRow("held now", now, f"by {holders}"),
        EstimateRow("difference", total - now, "more" if total > now else "less" if total < now else ""),
    ]
    note = ""
    without = len(trained) - len(seen)
    if name == "adagrad":
        note = "Adagrad makes state of all parameters at once, when it is built."
    elif not seen:
        note = "No parameter has a gradient or state yet: all that are trained are counted."
    elif without:
        more = sum(p.numel() * p.element_size() for p in trained) - sum(p.numel() * p.element_size() for p in seen)
        note = f"{_parameters(without)} of {more:,} bytes without gradient or state: not counted, as torch makes none."
    return Estimate(
        stop,
        WhatIfKind.OPTIMIZER,
        f"{title} instead of {holders}",
        tuple(rows),
        f"estimated: {title} would hold {total:,} bytes of state, where {now:,} are held now",
        "From the shapes and dtypes of the parameters, and what torch's own class keeps of each.",
        note,
    )


def parameters_of(one: Any) -> list[Tensor]:
    """What an optimizer updates, each once."""
    groups = getattr(one, "param_groups", ())
    found = [p for group in groups for p in group.get("params", ()) if isinstance(p, Tensor)]
    return list({id(p): p for p in found}.values())


def _known(names: Names) -> set[int]:
    counted: set[int] = set()
    _bytes((p.tensor for p in names.parameters), counted)
    _bytes(names.buffers, counted)
    _bytes(_states(names), counted)
    return counted


def _bytes(tensors: Iterable[Tensor], counted: set[int]) -> int:
    return count_once((pair for tensor in tensors for pair in tensor_storages(tensor)), counted)


def _states(names: Names) -> Iterable[Tensor]:
    return state_tensors(one for _, one in names.optimizers.values())


def _gradients(count: int) -> str:
    return f"{count:,} gradient{'' if count == 1 else 's'}"


def _parameters(count: int) -> str:
    return f"{count:,} parameter{'' if count == 1 else 's'}"
