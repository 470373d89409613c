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
from stepdbg.agent.optim.sheet import exact
from stepdbg.agent.optim.ulps import apart, ulp
from stepdbg.agent.quiet import quiet
from stepdbg.protocol.messages import GetExplanation
from stepdbg.protocol.step import DID, WILL, Explanation

SHAPE = (7, 13)  # 91 elements: whole vectors and a tail
STEPS = 3
DTYPES = [torch.float32, torch.float64, torch.bfloat16, pytest.param(torch.float16, marks=pytest.mark.slow)]


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
        if options.get("fused") and kind is torch.optim.SGD and dtype in (torch.bfloat16, torch.float16):
            assert did.within or "a defect of torch" in did.note  # before it was corrected there
            continue
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
OTHERS = grid(weight_decay=(0.0, 0.1), maximize=(False, True), foreach=(False, True))
EVERY = [
    *((torch.optim.SGD, {"lr": 0.1, **o}) for o in SGD),
    *((torch.optim.Adam, {"lr": 0.01, **o}) for o in ADAM),
    *((torch.optim.AdamW, {"lr": 0.01, **o}) for o in ADAM),
    *((torch.optim.RMSprop, {"lr": 0.01, **o}) for o in RMSPROP),
    *((torch.optim.Adagrad, {"lr": 0.05, **o}) for o in ADAGRAD),
    *((torch.optim.Adamax, {"lr": 0.05, **o}) for o in OTHERS),
    *((torch.optim.Adadelta, {"lr": 0.5, **o}) for o in OTHERS),
]


def _id(value: Any) -> str:
    if isinstance(value, dict):
        return ",".join(f"{k}={v}" for k, v in value.items())
    return getattr(value, "__name__", str(value))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("kind", "options"), EVERY, ids=_id)
def test_every_option_gives_the_real_value_bit_for_bit(kind: Any, options: dict[str, Any], dtype: torch.dtype) -> None:
    check(kind, options, dtype)


FUSED = [
    *((torch.optim.SGD, {"lr": 0.1, "fused": True, **o}) for o in SGD if not o.pop("foreach", None)),
    *((k, {"lr": 0.01, "fused": True, **o}) for k in (torch.optim.Adam, torch.optim.AdamW) for o in ADAM),
    *((torch.optim.Adagrad, {"lr": 0.05, "fused": True, **o}) for o in ADAGRAD),
]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(
    ("kind", "options"), [(k, {n: v for n, v in o.items() if n != "foreach"}) for k, o in FUSED], ids=_id
)
def test_fused_kernels_are_within_what_is_claimed(kind: Any, options: dict[str, Any], dtype: torch.dtype) -> None:
    check(kind, options, dtype)


DEFAULTS = [
    (torch.optim.SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
    (torch.optim.Adam, {"lr": 0.01, "amsgrad": True}),
    (torch.optim.AdamW, {"lr": 0.01}),
    (torch.optim.RMSprop, {"lr": 0.01, "momentum": 0.9, "centered": True}),
    (torch.optim.Adagrad, {"lr": 0.1, "lr_decay": 0.1}),
    (torch.optim.Adamax, {"lr": 0.1, "weight_decay": 0.1}),
    (torch.optim.Adadelta, {"lr": 0.1}),
]


@pytest.mark.parametrize("shape", [(), (1,), (3,), (1, 1, 1), (40, 40)], ids=str)
@pytest.mark.parametrize(("kind", "options"), DEFAULTS, ids=_id)
def test_every_shape(kind: Any, options: dict[str, Any], shape: tuple[int, ...]) -> None:
    check(kind, options, shape=shape)


@pytest.mark.parametrize("size", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize(("kind", "options"), DEFAULTS, ids=_id)
def test_a_learning_rate_that_is_a_tensor(kind: Any, options: dict[str, Any], size: torch.dtype) -> None:
    check(kind, {**options, "lr": torch.tensor(options["lr"], dtype=size), "foreach": False})


@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.5, 0.9)])
def test_betas_that_are_tensors(betas: tuple[float, float]) -> None:
    options = {"lr": torch.tensor(0.01), "betas": tuple(torch.tensor(b) for b in betas), "foreach": False}
    check(torch.optim.Adam, options)


@pytest.mark.parametrize(("kind", "options"), DEFAULTS, ids=_id)
def test_differentiable_steps(kind: Any, options: dict[str, Any]) -> None:
    torch.manual_seed(1)
    leaf = torch.randn(5, 5, requires_grad=True)
    parameter = leaf * 1.0
    parameter.retain_grad()
    optimizer = kind([parameter], **options, differentiable=True)
    before = Before()
    for number in range(STEPS):
        parameter.grad = torch.randn(5, 5)
        before.step_begins(optimizer, number)
        optimizer.step()
        before.step_ended(id(optimizer))
        with quiet():
            did = explain(Asked(before, names_of(parameter, optimizer), 1, ""), GetExplanation(0, "w", (2, 3)))
        assert (did.exact, did.note) == (True, ""), did


@pytest.mark.parametrize(("kind", "options"), DEFAULTS, ids=_id)
def test_not_finite_and_extreme_numbers(kind: Any, options: dict[str, Any]) -> None:
    parameter = nn.Parameter(torch.tensor([1.0, 1.0, 1.0, 1e-42, 3e38, -0.0]))
    optimizer = kind([parameter], **options)
    before = Before()
    parameter.grad = torch.tensor([math.nan, math.inf, -math.inf, 1e-44, 3e38, 0.0])
    before.step_begins(optimizer, 1)
    optimizer.step()
    before.step_ended(id(optimizer))
    for at in range(6):
        with quiet():
            did = explain(Asked(before, names_of(parameter, optimizer), 1, ""), GetExplanation(0, "w", (at,)))
        assert (did.exact, did.note) == (True, ""), did


def test_several_groups_each_with_its_own_numbers() -> None:
    a, b = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([{"params": [a]}, {"params": [b], "lr": 0.5, "momentum": 0.5}], lr=0.1)
    before = Before()
    names = Names(
        optimizers={id(optimizer): ("optimizer", optimizer)}, parameters=[Named("a", a, ""), Named("b", b, "")]
    )
    for p in (a, b):
        p.grad = torch.full((2,), 0.25)
    before.step_begins(optimizer, 1)
    optimizer.step()
    before.step_ended(id(optimizer))
    with quiet():
        one, two = (explain(Asked(before, names, 1, ""), GetExplanation(0, name)) for name in "ab")
    assert (one.group, one.groups, one.predicted, one.exact) == (0, 2, "0.975", True)
    assert (two.group, two.rule, two.predicted, two.exact) == (1, "b ← μ·b + g,   p ← p - lr·b", "0.875", True)
    assert (one.following, two.previous) == ("b", "a")


def sparse(rows: list[int], width: int = 3, size: int = 6) -> Tensor:
    values = torch.randn(len(rows), width)
    return torch.sparse_coo_tensor(torch.tensor([rows]), values, (size, width), check_invariants=True)


@pytest.mark.filterwarnings("ignore:Sparse invariant checks")
@pytest.mark.parametrize(
    ("kind", "options"),
    [(torch.optim.SGD, {"lr": 0.1}), (torch.optim.Adagrad, {"lr": 0.1})],
    ids=_id,
)
def test_sparse_gradients(kind: Any, options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    parameter = nn.Parameter(torch.randn(6, 3))
    optimizer = kind([parameter], **options)
    before = Before()
    for number in range(STEPS):
        parameter.grad = sparse([0, 2, 2, 5])
        before.step_begins(optimizer, number)
        optimizer.step()
        before.step_ended(id(optimizer))
        asked = Asked(before, names_of(parameter, optimizer), 1, "")
        with quiet():
            once, twice, none = (explain(asked, GetExplanation(0, "w", (row, 1))) for row in (0, 2, 1))
        assert (once.exact, once.tolerance) == (True, "bit for bit"), once
        assert twice.within, twice
        assert "2 entries of the sparse gradient" in twice.tolerance
        assert none.note == "the sparse gradient has no entry here: the step leaves this element alone"
        assert none.before == none.after
        assert none.change == "0"


@pytest.mark.filterwarnings("ignore:Sparse invariant checks")
def test_sparse_adam_and_momentum_are_told_without_a_formula() -> None:
    parameter = nn.Parameter(torch.randn(6, 3))
    for optimizer in (torch.optim.SparseAdam([parameter]), torch.optim.SGD([parameter], lr=0.1, momentum=0.9)):
        before = Before()
        parameter.grad = sparse([0, 2])
        before.step_begins(optimizer, 1)
        optimizer.step()
        before.step_ended(id(optimizer))
        with quiet():
            did = explain(Asked(before, names_of(parameter, optimizer), 1, ""), GetExplanation(0, "w", (2, 1)))
        assert "no formula" in did.note.lower()
        assert (did.lines, did.exact) == ((), None)
        assert did.after != did.before


def test_complex_parameters_are_told_without_a_formula() -> None:
    parameter = nn.Parameter(torch.tensor([1 + 2j, 3 - 1j]))
    optimizer = torch.optim.Adam([parameter], lr=0.1)
    before = Before()
    parameter.grad = torch.tensor([0.5 + 0.5j, 1 + 0j])
    before.step_begins(optimizer, 1)
    optimizer.step()
    before.step_ended(id(optimizer))
    with quiet():
        did = explain(Asked(before, names_of(parameter, optimizer), 1, ""), GetExplanation(0, "w", (1,)))
    assert did.note == "no formula for complex64 parameters here: before → after is all that can be told"
    assert complex(did.before or "") == 3 - 1j
    assert complex(did.after or "") == parameter[1].item()


def test_a_subclass_may_compute_anything() -> None:
    class Mine(torch.optim.SGD):
        pass

    parameter = nn.Parameter(torch.ones(2))
    parameter.grad = torch.ones(2)
    optimizer = Mine([parameter], lr=0.1)
    before = Before()
    before.step_begins(optimizer, 1)
    optimizer.step()
    before.step_ended(id(optimizer))
    with quiet():
        did = explain(Asked(before, names_of(parameter, optimizer), 1, ""), GetExplanation(0, "w"))
    assert (did.kind, did.note) == ("Mine", "Mine has no formula here: before → after is all that can be told")
    assert did.change == "-0.1"
    parameter.data.zero_()
    parameter.detach().add_(1)
    with quiet():
        after = explain(Asked(before, names_of(parameter, optimizer), 1, ""), GetExplanation(0, "w"))
    assert after.after is None
    assert after.note == f"{did.note}; the parameter has been written since the step: what the step left is gone"


def test_a_wrong_formula_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    real = torch.Tensor.add

    def off(self: Tensor, other: Any, *, alpha: Any = 1) -> Tensor:
        return torch.nextafter(real(self, other, alpha=alpha), torch.tensor(9.0))

    parameter = nn.Parameter(torch.full((2,), 0.7))
    parameter.grad = torch.full((2,), 0.3)
    optimizer = torch.optim.SGD([parameter], lr=0.1)
    before = Before()
    before.step_begins(optimizer, 1)
    optimizer.step()
    before.step_ended(id(optimizer))
    monkeypatch.setattr(torch.Tensor, "add", off)
    with quiet():
        did = explain(Asked(before, names_of(parameter, optimizer), 1, ""), GetExplanation(0, "w"))
    assert (did.exact, did.within, did.ulps) == (False, False, 1.0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16], ids=str)
def test_units_in_the_last_place(dtype: torch.dtype) -> None:
    for size in (1.0, 1.5, 0.75, 3.0, 100.0, 1e-3, torch.finfo(dtype).tiny, torch.finfo(dtype).tiny / 4):
        one = torch.tensor(size, dtype=dtype)
        following = torch.nextafter(one, torch.tensor(math.inf, dtype=dtype))
        assert ulp(one.item(), dtype) == following.item() - one.item()
        assert apart(following.item(), one.item(), one.item(), dtype) == 1.0
    assert apart(math.nan, math.nan, 1.0, dtype) == 0.0
    assert apart(math.nan, 1.0, 1.0, dtype) is None
    assert apart(math.inf, math.inf, math.inf, dtype) == 0.0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16], ids=str)
def test_results_are_named_exactly_in_few_digits(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    for number in torch.randn(200, dtype=torch.float64).mul(torch.randn(200).exp().double()).to(dtype):
        text = exact(number)
        assert torch.tensor(float(text), dtype=torch.float64).to(dtype) == number
        assert len(text) <= 24
    assert exact(torch.tensor(0.1, dtype=dtype)) == "0.1"
    assert [exact(v) for v in (3.0, 0.5, math.nan, math.inf)] == ["3", "0.5", "nan", "inf"]
