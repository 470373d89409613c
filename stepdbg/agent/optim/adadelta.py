"""Adadelta, as `torch.optim.adadelta._single_tensor_adadelta` computes it (Zeiler, 2012)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from stepdbg.agent.optim.sheet import Case, Family, Sheet, inner, is_zero, short


def _rule(_hyper: Mapping[str, Any]) -> str:
    return "s ← ρ·s + (1 - ρ)·g²,   d = g·√(a + ε)/√(s + ε),   p ← p - lr·d,   a ← ρ·a + (1 - ρ)·d²"


def update(case: Case, sheet: Sheet) -> Tensor:
    """The new value of an element."""
    hyper, p, g = case.hyper, case.value, case.grad
    lr, rho, eps, decay = (hyper[k] for k in ("lr", "rho", "eps", "weight_decay"))
    zero = torch.zeros_like(p)
    s, a = case.state.get("square_avg", zero), case.state.get("acc_delta", zero)
    if hyper.get("maximize"):
        g = sheet.line("g ← -g", f"-{inner(g)}", -g, "maximize: uphill")
    if not is_zero(decay):
        g = sheet.line("g ← g + λ·p", f"{short(g)} + {inner(decay)}·{inner(p)}", g.add(p, alpha=decay))
    numbers = f"{inner(rho)}·{inner(s)} + (1 - {inner(rho)})·{inner(g)}²"
    s = sheet.line("s ← ρ·s + (1 - ρ)·g²", numbers, case.scaled(s, rho).addcmul_(g, g, value=1 - rho))
    numbers = f"{inner(g)}·√({short(a)} + {short(eps)})/√({short(s)} + {short(eps)})"
    d = a.add(eps).sqrt_().div_(s.add(eps).sqrt_()).mul_(g)
    sheet.line("d = g·√(a + ε)/√(s + ε)", numbers, d)
    numbers = f"{inner(rho)}·{inner(a)} + (1 - {inner(rho)})·{inner(d)}²"
    sheet.line("a ← ρ·a + (1 - ρ)·d²", numbers, case.scaled(a, rho).addcmul_(d, d, value=1 - rho), "for the next step")
    numbers = f"{short(p)} - {inner(lr)}·{inner(d)}"
    return sheet.line("p ← p - lr·d", numbers, p.add(d, alpha=-lr))  # type: ignore[no-any-return]


ADADELTA = Family(
    rule=_rule,
    update=update,
    hyper={
        "lr": "lr",
        "rho": "ρ",
        "eps": "ε",
        "weight_decay": "λ",
        "maximize": "",
    },
    state={"step": "t", "square_avg": "s", "acc_delta": "a"},
)
