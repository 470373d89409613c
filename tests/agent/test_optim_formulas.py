"""Every formula against torch's own optimizers, on real steps: every option, several steps, every dtype."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from stepdbg.agent.naming import Named, Names
from stepdbg.agent.optim.before import Before
from stepdbg.agent.optim.explain import Asked, explain
from stepdbg.agent.quiet import quiet
from stepdbg.protocol.messages import GetExplanation
from stepdbg.protocol.step import DID, WILL, Explanation

SHAPE = (7, 13)  # 91 elements: whole vectors and a tail
STEPS = 3


def grid(**options: tuple[Any, ...]) -> list[dict[str, Any]]:
    """Every combination."""
    return [dict(zip(options, values, strict=True)) for values in itertools.product(*options.values())]


def names_of(parameter: Tensor, optimizer: Any) -> Names:
    return Names(optimizers={id(optimizer): ("optimizer", optimizer)}, parameters=[Named("w", parameter, "")])


def steps(
    kind: Any, options: dict[str, Any], dtype: torch.dtype = torch.float32, shape: tuple[int, ...] = SHAPE
) -> list[tuple[Explanation, Explanation, Tensor]]:
    """What is predicted before, and told after each step, at some elements; with the parameter after it."""
    torch.manual_seed(1)
    parameter = nn.Parameter((torch.randn(shape, dtype=torch.float64) * 0.3).to(dtype))
    optimizer = kind([parameter], **options)
    before = Before()
    places = [(0, 0), (3, 5), (6, 12)] if shape == SHAPE else [(0,) * len(shape)]
    result = []
    for number in range(STEPS):
        grad = (torch.randn(shape, dtype=torch.float64) * 10.0 ** (-number)).to(dtype)
        parameter.grad = grad
        asked = Asked(before, names_of(parameter, optimizer), number, "")
        before.about_to_stop(optimizer, (optimizer,), {})
        with quiet():
            will = [explain(asked, GetExplanation(0, "w", index)) for index in places]
        before.step_begins(optimizer, number + 1, (optimizer,), {})
        optimizer.step()
        before.step_ended(id(optimizer))
        with quiet():
            did = [explain(asked, GetExplanation(0, "w", index)) for index in places]
        for one, other in zip(will, did, strict=True):
            assert (one.tells, other.tells) == (WILL, DID)
            assert other.after is not None
            assert torch.tensor(float(other.after), dtype=torch.float64).to(dtype) == parameter[other.index].detach()
            result.append((one, other, parameter.detach().clone()))
    return result


def check(kind: Any, options: dict[str, Any], dtype: torch.dtype = torch.float32, **more: Any) -> None:
    for will, did, _ in steps(kind, options, dtype, **more):
        assert did.note == "", (did.note, did)
        assert did.lines
        assert did.lines[-1].result
        if options.get("fused"):
            assert "2 ulp" in did.tolerance
            assert did.within, did
        else:
            assert did.tolerance == "bit for bit"
            assert did.exact, did
            assert did.predicted == did.after
        # What was promised before the step is what was told after it.
        if dtype in (torch.float32, torch.float64):
            assert (will.predicted, will.lines, will.given) == (did.predicted, did.lines, did.given)
        assert will.after is None
        assert will.exact is None


SGD = grid(momentum=(0.0, 0.9), weight_decay=(0.0, 0.01), maximize=(False, True), foreach=(False, True, None))
SGD += grid(
    momentum=(0.9,), dampening=(0.0, 0.3), nesterov=(False, True), weight_decay=(0.0, 0.01), maximize=(False, True),
    foreach=(False, True),
)  # fmt: skip
SGD = [o for o in SGD if not (o.get("nesterov") and o.get("dampening"))]
ADAM = grid(
    amsgrad=(False, True), weight_decay=(0.0, 0.1), maximize=(False, True), foreach=(False, True),
    betas=((0.9, 0.999), (0.5, 0.9)),
)  # fmt: skip
RMSPROP = grid(
    centered=(False, True), momentum=(0.0, 0.9), weight_decay=(0.0, 0.1), maximize=(False, True),
    foreach=(False, True), alpha=(0.99, 0.5),
)  # fmt: skip
ADAGRAD = grid(
    lr_decay=(0.0, 0.1), weight_decay=(0.0, 0.1), maximize=(False, True), foreach=(False, True),
    initial_accumulator_value=(0.0, 0.5),
)  # fmt: skip
EVERY = [
    *((torch.optim.SGD, {"lr": 0.1, **o}) for o in SGD),
    *((torch.optim.Adam, {"lr": 0.01, **o}) for o in ADAM),
    *((torch.optim.AdamW, {"lr": 0.01, **o}) for o in ADAM),
    *((torch.optim.RMSprop, {"lr": 0.01, **o}) for o in RMSPROP),
    *((torch.optim.Adagrad, {"lr": 0.05, **o}) for o in ADAGRAD),
]


def _id(value: Any) -> str:
    if isinstance(value, dict):
        return ",".join(f"{k}={v}" for k, v in value.items())
    return getattr(value, "__name__", str(value))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize(("kind", "options"), EVERY, ids=_id)
def test_every_option_gives_the_real_value_bit_for_bit(kind: Any, options: dict[str, Any], dtype: torch.dtype) -> None:
    check(kind, options, dtype)


FUSED = [
    *((torch.optim.SGD, {"lr": 0.1, "fused": True, **o}) for o in SGD if not o.pop("foreach", None)),
    *((k, {"lr": 0.01, "fused": True, **o}) for k in (torch.optim.Adam, torch.optim.AdamW) for o in ADAM),
    *((torch.optim.Adagrad, {"lr": 0.05, "fused": True, **o}) for o in ADAGRAD),
]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize(
    ("kind", "options"), [(k, {n: v for n, v in o.items() if n != "foreach"}) for k, o in FUSED], ids=_id
)
def test_fused_kernels_are_within_what_is_claimed(kind: Any, options: dict[str, Any], dtype: torch.dtype) -> None:
    check(kind, options, dtype)
