"""Adam and AdamW, as `torch.optim.adam._single_tensor_adam` computes them (Kingma and Ba, 2014; Loshchilov and Hutter,
2017; amsgrad: Reddi et al., 2018).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor

from stepdbg.agent.optim.sheet import Case, Family, Sheet, inner, is_zero, short


def _rule(hyper: Mapping[str, Any]) -> str:
    return f"p ← p{_decayed(hyper)} - lr/c₁ · m / (√{'v̂' if hyper.get('amsgrad') else 'v'}/√c₂ + ε)"


def _decayed(hyper: Mapping[str, Any]) -> str:
    return "·(1 - lr·λ)" if hyper.get("decoupled_weight_decay") and not is_zero(hyper["weight_decay"]) else ""


def update(case: Case, sheet: Sheet) -> Tensor:
    """The new value of an element."""
    hyper, p, g = case.hyper, case.value, case.grad
    (beta1, beta2), lr, decay = hyper["betas"], hyper["lr"], hyper["weight_decay"]
    zero = torch.zeros_like(p)
    m, v = case.state.get("exp_avg", zero), case.state.get("exp_avg_sq", zero)
    t = case.step + 1.0
    if hyper.get("maximize"):
        g = sheet.line("g ← -g", f"-{inner(g)}", -g, "maximize: uphill")
    sheet.line("t ← t + 1", f"{short(case.step)} + 1", t)
    if not is_zero(decay):
        if hyper.get("decoupled_weight_decay"):
            numbers = f"{short(p)}·(1 - {inner(lr)}·{inner(decay)})"
            p = sheet.line("p ← p·(1 - lr·λ)", numbers, case.scaled(p, 1 - lr * decay), "decoupled weight decay")
        else:
            numbers = f"{short(g)} + {inner(decay)}·{inner(p)}"
            g = sheet.line("g ← g + λ·p", numbers, g.add(p, alpha=decay))
    weight1 = 1 - (beta1.to(p.dtype) if isinstance(beta1, Tensor) else beta1)
    numbers = f"{inner(beta1)}·{inner(m)} + (1 - {inner(beta1)})·{inner(g)}"
    m = sheet.line("m ← β₁·m + (1 - β₁)·g", numbers, m.lerp(g, weight1))
    numbers = f"{inner(beta2)}·{inner(v)} + (1 - {inner(beta2)})·{inner(g)}²"
    v = sheet.line(
        "v ← β₂·v + (1 - β₂)·g²", numbers, case.scaled(v, beta2).addcmul_(g, g, value=cast("float", 1 - beta2))
    )
    root = "v"
    if hyper.get("amsgrad"):
        most = case.state.get("max_exp_avg_sq", zero)
        v, root = sheet.line("v̂ ← max(v̂, v)", f"max({short(most)}, {short(v)})", torch.maximum(most, v)), "v̂"
    tensors = bool(hyper.get("capturable") or hyper.get("differentiable"))
    return _apply(case, sheet, _Moments(p, m, v, root), torch.tensor(t) if tensors else t)


class _Moments:
    """What the last lines need."""

    def __init__(self, p: Tensor, m: Tensor, v: Tensor, root: str) -> None:
        self.p, self.m, self.v, self.root = p, m, v, root


def _apply(case: Case, sheet: Sheet, at: _Moments, t: Any) -> Tensor:
    hyper, p, m, v = case.hyper, at.p, at.m, at.v
    (beta1, beta2), lr, eps = hyper["betas"], hyper["lr"], hyper["eps"]
    tensors = isinstance(t, Tensor)
    c1 = sheet.line("c₁ = 1 - β₁ᵗ", f"1 - {inner(beta1)}^{short(t)}", 1 - beta1**t)
    c2 = sheet.line("c₂ = 1 - β₂ᵗ", f"1 - {inner(beta2)}^{short(t)}", 1 - beta2**t)
    size = lr / c1
    d_rule, d_numbers = f"d = √{at.root}/√c₂ + ε", f"√{inner(v)}/√{inner(c2)} + {short(eps)}"
    p_rule, p_numbers = "p ← p - lr/c₁ · m/d", f"{short(p)} - {inner(lr)}/{inner(c1)} · {inner(m)}/"
    if tensors:  # torch folds the size of the step into the divisor there
        d = v.sqrt() / (c2.sqrt() * size.neg())
        d = d.add_(eps / size.neg())
        shown = sheet.line(d_rule, d_numbers, d * size.neg())
        return sheet.line(p_rule, p_numbers + inner(shown), p.addcdiv(m, d))  # type: ignore[no-any-return]
    d = sheet.line(d_rule, d_numbers, (v.sqrt() / c2**0.5).add_(eps))
    return sheet.line(p_rule, p_numbers + inner(d), p.addcdiv(m, d, value=-size))  # type: ignore[no-any-return]


ADAM = Family(
    rule=_rule,
    update=update,
    hyper={
        "lr": "lr",
        "betas": "β₁, β₂",
        "eps": "ε",
        "weight_decay": "λ",
        "amsgrad": "",
        "decoupled_weight_decay": "",
        "maximize": "",
    },
    state={"step": "t", "exp_avg": "m", "exp_avg_sq": "v", "max_exp_avg_sq": "v̂"},
)
