"""Adamax, as `torch.optim.adamax._single_tensor_adamax` computes it (Kingma and Ba, 2014)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from stepdbg.agent.optim.sheet import Case, Family, Sheet, inner, is_zero, short


def _rule(_hyper: Mapping[str, Any]) -> str:
    return "m ← β₁·m + (1 - β₁)·g,   u ← max(β₂·u, |g| + ε),   p ← p - lr/c · m/u"


def update(case: Case, sheet: Sheet) -> Tensor:
    """The new value of an element."""
    hyper, p, g = case.hyper, case.value, case.grad
    (beta1, beta2), lr, eps, decay = hyper["betas"], hyper["lr"], hyper["eps"], hyper["weight_decay"]
    zero = torch.zeros_like(p)
    m, u = case.state.get("exp_avg", zero), case.state.get("exp_inf", zero)
    t = case.step + 1.0
    if hyper.get("maximize"):
        g = sheet.line("g ← -g", f"-{inner(g)}", -g, "maximize: uphill")
    if not is_zero(decay):
        g = sheet.line("g ← g + λ·p", f"{short(g)} + {inner(decay)}·{inner(p)}", g.add(p, alpha=decay))
    numbers = f"{inner(beta1)}·{inner(m)} + (1 - {inner(beta1)})·{inner(g)}"
    m = sheet.line("m ← β₁·m + (1 - β₁)·g", numbers, m.lerp(g, 1 - beta1))
    numbers = f"max({inner(beta2)}·{inner(u)}, |{short(g)}| + {short(eps)})"
    u = sheet.line("u ← max(β₂·u, |g| + ε)", numbers, torch.maximum(case.scaled(u, beta2), g.abs().add_(eps)))
    c = sheet.line("c = 1 - β₁ᵗ", f"1 - {inner(beta1)}^{short(t)}", 1 - beta1**t)
    numbers = f"{short(p)} - {inner(lr)}/{inner(c)} · {inner(m)}/{inner(u)}"
    return sheet.line("p ← p - lr/c · m/u", numbers, p.addcdiv(m, u, value=-(lr / c)))  # type: ignore[no-any-return]


ADAMAX = Family(
    rule=_rule,
    update=update,
    hyper={
        "lr": "lr",
        "betas": "β₁, β₂",
        "eps": "ε",
        "weight_decay": "λ",
        "maximize": "",
    },
    state={"step": "t", "exp_avg": "m", "exp_inf": "u"},
)
