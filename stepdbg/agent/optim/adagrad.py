"""Adagrad, as `torch.optim.adagrad._single_tensor_adagrad` computes it (Duchi et al., 2011)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from stepdbg.agent.optim.sheet import FOREACH, Case, Family, Sheet, inner, is_zero, short


def _rule(hyper: Mapping[str, Any]) -> str:
    rate = "lr" if is_zero(hyper["lr_decay"]) else "lr/(1 + (t - 1)·η)"
    return f"s ← s + g²,   p ← p - {rate} · g / (√s + ε)"


def update(case: Case, sheet: Sheet) -> Tensor:
    """The new value of an element."""
    hyper, p, g = case.hyper, case.value, case.grad
    lr, decay, slower, eps = (hyper[k] for k in ("lr", "weight_decay", "lr_decay", "eps"))
    s = case.state.get("sum")
    if s is None:
        s = torch.full_like(p, float(hyper.get("initial_accumulator_value") or 0.0))
    t = case.step + 1.0
    if hyper.get("maximize"):
        g = sheet.line("g ← -g", f"-{inner(g)}", -g, "maximize: uphill")
    if not is_zero(decay):
        g = sheet.line("g ← g + λ·p", f"{short(g)} + {inner(decay)}·{inner(p)}", g.add(p, alpha=decay))
    rate, name = lr / (1 + (t - 1) * slower), "lr"
    if not is_zero(slower):
        numbers = f"{inner(lr)}/(1 + ({short(t)} - 1)·{inner(slower)})"
        rate, name = sheet.line("r = lr/(1 + (t - 1)·η)", numbers, rate), "r"
    s = sheet.line("s ← s + g²", f"{short(s)} + {inner(g)}²", s.addcmul(g, g, value=1))
    d = sheet.line("d = √s + ε", f"√{inner(s)} + {short(eps)}", s.sqrt().add_(eps))
    if case.path == FOREACH:  # it scales the gradient before it divides, in place where that is no longer the script's
        own = bool(hyper.get("maximize")) or not is_zero(decay)
        new = p.addcdiv(case.scaled(g, -rate) if own else g * -rate, d)
    else:
        new = p.addcdiv(g, d, value=-rate)
    numbers = f"{short(p)} - {inner(rate)}·{inner(g)}/{inner(d)}"
    return sheet.line(f"p ← p - {name}·g/d", numbers, new)  # type: ignore[no-any-return]


ADAGRAD = Family(
    rule=_rule,
    update=update,
    hyper={
        "lr": "lr",
        "lr_decay": "η",
        "eps": "ε",
        "weight_decay": "λ",
        "maximize": "",
    },
    state={"step": "t", "sum": "s"},
)
