"""RMSprop, as `torch.optim.rmsprop._single_tensor_rmsprop` computes it (Hinton, 2012; centered: Graves, 2013)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from stepdbg.agent.optim.sheet import Case, Family, Sheet, inner, is_zero, short


def _rule(hyper: Mapping[str, Any]) -> str:
    root = "√(s - ḡ²)" if hyper.get("centered") else "√s"
    if hyper["momentum"] > 0:
        return f"b ← μ·b + g / ({root} + ε),   p ← p - lr·b"
    return f"p ← p - lr · g / ({root} + ε)"


def update(case: Case, sheet: Sheet) -> Tensor:
    """The new value of an element."""
    hyper, p, g = case.hyper, case.value, case.grad
    alpha, decay, eps, lr, momentum = (hyper[k] for k in ("alpha", "weight_decay", "eps", "lr", "momentum"))
    zero = torch.zeros_like(p)
    s = case.state.get("square_avg", zero)
    if hyper.get("maximize"):
        g = sheet.line("g ← -g", f"-{inner(g)}", -g, "maximize: uphill")
    if not is_zero(decay):
        g = sheet.line("g ← g + λ·p", f"{short(g)} + {inner(decay)}·{inner(p)}", g.add(p, alpha=decay))
    numbers = f"{inner(alpha)}·{inner(s)} + (1 - {inner(alpha)})·{inner(g)}²"
    s = sheet.line("s ← α·s + (1 - α)·g²", numbers, case.scaled(s, alpha).addcmul_(g, g, value=1 - alpha))
    if hyper.get("centered"):
        mean = case.state.get("grad_avg", zero)
        numbers = f"{inner(alpha)}·{inner(mean)} + (1 - {inner(alpha)})·{inner(g)}"
        mean = sheet.line("ḡ ← α·ḡ + (1 - α)·g", numbers, mean.lerp(g, 1 - alpha))
        rule, numbers = "d = √(s - ḡ²) + ε", f"√({short(s)} - {inner(mean)}²) + {short(eps)}"
        d = sheet.line(rule, numbers, s.addcmul(mean, mean, value=-1).sqrt_().add_(eps))
    else:
        d = sheet.line("d = √s + ε", f"√{inner(s)} + {short(eps)}", s.sqrt().add_(eps))
    if not momentum > 0:
        numbers = f"{short(p)} - {inner(lr)}·{inner(g)}/{inner(d)}"
        return sheet.line("p ← p - lr·g/d", numbers, p.addcdiv(g, d, value=-lr))  # type: ignore[no-any-return]
    b = case.state.get("momentum_buffer", zero)
    numbers = f"{inner(momentum)}·{inner(b)} + {inner(g)}/{inner(d)}"
    b = sheet.line("b ← μ·b + g/d", numbers, case.scaled(b, momentum).addcdiv_(g, d))
    numbers = f"{short(p)} - {inner(lr)}·{inner(b)}"
    return sheet.line("p ← p - lr·b", numbers, p.add(b, alpha=-lr))  # type: ignore[no-any-return]


RMSPROP = Family(
    rule=_rule,
    update=update,
    hyper={
        "lr": "lr",
        "alpha": "α",
        "eps": "ε",
        "weight_decay": "λ",
        "momentum": "μ",
        "centered": "",
        "maximize": "",
    },
    state={"step": "t", "square_avg": "s", "grad_avg": "ḡ", "momentum_buffer": "b"},
)
