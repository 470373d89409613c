"""SGD, as `torch.optim.sgd._single_tensor_sgd` computes it (Sutskever et al., 2013, with torch's own momentum)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from stepdbg.agent.optim.sheet import Case, Family, Sheet, inner, is_zero, short


def _rule(hyper: Mapping[str, Any]) -> str:
    d = "-g" if hyper.get("maximize") else "g"
    if not is_zero(hyper["weight_decay"]):
        d = f"{d} + λ·p"
    if is_zero(hyper["momentum"]):
        return f"p ← p - lr·({d})" if d != "g" else "p ← p - lr·g"
    weight = "" if is_zero(hyper["dampening"]) else "(1 - τ)·"
    inside = f"({d})" if d != "g" and weight else d
    step = "(d + μ·b)" if hyper.get("nesterov") else "b"
    if hyper.get("nesterov"):
        return f"d = {d},   b ← μ·b + {weight}d,   p ← p - lr·{step}"
    return f"b ← μ·b + {weight}{inside},   p ← p - lr·{step}"


def update(case: Case, sheet: Sheet) -> Tensor:
    """The new value of an element."""
    hyper, p = case.hyper, case.value
    lr, decay, momentum = hyper["lr"], hyper["weight_decay"], hyper["momentum"]
    d, name = case.grad, "g"
    if hyper.get("maximize"):
        d, name = sheet.line("d = -g", f"-{inner(d)}", -d, "maximize: uphill"), "d"
    if not is_zero(decay):
        rule, numbers = f"d = {name} + λ·p", f"{short(d)} + {inner(decay)}·{inner(p)}"
        d, name = sheet.line(rule, numbers, d.add(p, alpha=decay)), "d"
    if not is_zero(momentum):
        d, name = _with_momentum(case, sheet, d, name)
    numbers = f"{short(p)} - {inner(lr)}·{inner(d)}"
    return sheet.line(f"p ← p - lr·{name}", numbers, p.add(d, alpha=-lr))  # type: ignore[no-any-return]


def _with_momentum(case: Case, sheet: Sheet, d: Tensor, name: str) -> tuple[Tensor, str]:
    hyper = case.hyper
    momentum, dampening = hyper["momentum"], hyper["dampening"]
    before = case.state.get("momentum_buffer")
    if before is None:
        b = sheet.line(f"b = {name}", short(d), d.clone(), f"first step: the buffer begins as {name}")
    else:
        weight, share = ("", "") if is_zero(dampening) else ("(1 - τ)·", f"(1 - {short(dampening)})·")
        b = sheet.line(
            f"b ← μ·b + {weight}{name}",
            f"{inner(momentum)}·{inner(before)} + {share}{inner(d)}",
            case.scaled(before, momentum).add_(d, alpha=1 - dampening),
        )
    if not hyper.get("nesterov"):
        return b, "b"
    numbers = f"{short(d)} + {inner(momentum)}·{inner(b)}"
    return sheet.line(f"n = {name} + μ·b", numbers, d.add(b, alpha=momentum), "nesterov: one step ahead"), "n"


SGD = Family(
    rule=_rule,
    update=update,
    hyper={
        "lr": "lr",
        "momentum": "μ",
        "dampening": "τ",
        "weight_decay": "λ",
        "nesterov": "",
        "maximize": "",
    },
    state={"momentum_buffer": "b"},
)
