"""Setting things by hand in real loops, held against the same done in a bare one."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from stepdbg.commands.edit import read_set
from stepdbg.errors import RequestError
from stepdbg.inprocess import ThreadSession
from stepdbg.protocol import messages as m
from stepdbg.protocol.edits import Edited
from stepdbg.protocol.records import Phase, StopRecord

from .conftest import Drive, drive

X = torch.linspace(-1, 1, 32).reshape(8, 4)
Y = torch.linspace(0, 1, 8).reshape(8, 1)
By = Callable[..., None]


def nothing(*_things: Any) -> None:
    """What the bare loop does by hand when nothing is edited."""


def loop(by_hand: dict[str, By], optimizer: Callable[[Any], Any], iterations: int = 3) -> list[torch.Tensor]:
    """A loop with places in it where a careful user would change something by hand."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 1))
    optimiser = optimizer(net.parameters())
    for iteration in range(1, iterations + 1):
        by_hand.get(f"zero_grad {iteration}", nothing)(net, optimiser)
        optimiser.zero_grad()
        by_hand.get(f"forward {iteration}", nothing)(net, optimiser)
        output = net(X)
        loss = F.mse_loss(output, Y)
        by_hand.get(f"backward {iteration}", nothing)(net, optimiser)
        loss.backward()
        by_hand.get(f"step {iteration}", nothing)(net, optimiser)
        optimiser.step()
    return [p.detach().clone() for p in net.parameters()]


def sgd(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.1, momentum=0.9, weight_decay=0.01)


def place(stop: StopRecord) -> str:
    return f"{stop.next.phase.value} {stop.iteration}" if stop.next is not None else stop.reason.value


def edited(
    train: Callable[[], Any], where: str, *lines: str, actions: tuple[m.Action, ...] = ()
) -> tuple[Any, list[Edited | str], Drive]:
    """What `train` returns when these lines are entered at the stop `where`, their answers, and the run."""
    results: list[Any] = []
    answers: list[Edited | str] = []

    async def visit(session: ThreadSession, stop: StopRecord) -> None:
        if place(stop) == where and not answers:
            for line in lines:
                try:
                    answers.append(await session.request(read_set(line)))
                except RequestError as error:
                    answers.append(str(error))

    run = drive(lambda: results.append(train()), actions, visit)
    assert answers, f"no stop was {where}: {[place(stop) for stop in run.stops]}"
    assert not [event for event in run.events if isinstance(event, m.Warned)]
    return results[0] if results else None, answers, run


def same_bits(ours: list[torch.Tensor], theirs: list[torch.Tensor]) -> bool:
    return all(a.numpy().tobytes() == b.numpy().tobytes() for a, b in zip(ours, theirs, strict=True))


def no_grad(change: By) -> By:
    return torch.no_grad()(change)


def lr(value: float) -> By:
    def change(_net: Any, optimiser: Any) -> None:
        for group in optimiser.param_groups:
            group["lr"] = value

    return change


CASES: list[tuple[str, str, By]] = [
    ("lr 0.01", "forward 2", lr(0.01)),
    ("optimiser.lr=0.01", "step 1", lr(0.01)),
    ("optimiser[0].lr 0.01", "zero_grad 2", lr(0.01)),
    ("lr *0.5", "step 2", lr(0.05)),
    ("lr /10", "step 2", lr(0.1 * (1 / 10))),
    ("momentum 0", "step 2", lambda _net, o: o.param_groups[0].update(momentum=0.0)),
    ("nesterov true", "step 2", lambda _net, o: o.param_groups[0].update(nesterov=True)),
    ("maximize yes", "step 2", lambda _net, o: o.param_groups[0].update(maximize=True)),
    ("weight_decay 0", "step 2", lambda _net, o: o.param_groups[0].update(weight_decay=0.0)),
    ("net[0].bias 0", "forward 2", no_grad(lambda net, _o: net[0].bias.fill_(0))),
    ("net.0.bias 0", "backward 2", no_grad(lambda net, _o: net[0].bias.fill_(0))),
    ("net[0].weight[0, 1] 2.5", "forward 1", no_grad(lambda net, _o: net[0].weight[0, 1].fill_(2.5))),
    ("net.0.weight[:, 1] -1", "forward 1", no_grad(lambda net, _o: net[0].weight[:, 1].fill_(-1))),
    ("net.0.weight[-1, ::2] 1e-3", "step 1", no_grad(lambda net, _o: net[0].weight[-1, ::2].fill_(1e-3))),
    ("net.*.bias 0", "step 2", no_grad(lambda net, _o: [net[i].bias.fill_(0) for i in (0, 2)])),
    ("net[2].* *0.5", "step 2", no_grad(lambda net, _o: [p.mul_(0.5) for p in net[2].parameters()])),
    ("net.0.bias.grad 0", "step 2", no_grad(lambda net, _o: net[0].bias.grad.fill_(0))),
    ("net[0].weight.grad[0] *100", "step 1", no_grad(lambda net, _o: net[0].weight.grad[0].mul_(100))),
    ("net.0.weight[0, 1].grad 3", "step 1", no_grad(lambda net, _o: net[0].weight.grad[0, 1].fill_(3))),
    ("net.2.bias nan", "step 3", no_grad(lambda net, _o: net[2].bias.fill_(math.nan))),
    ("requires_grad net[2].* false", "forward 2", lambda net, _o: net[2].requires_grad_(False)),
    ("net.2.bias.requires_grad no", "backward 2", lambda net, _o: net[2].bias.requires_grad_(False)),
]


@pytest.mark.parametrize(("line", "where", "change"), CASES, ids=lambda value: value if isinstance(value, str) else "")
def test_a_run_goes_on_as_if_the_user_had_done_it_in_the_loop(line: str, where: str, change: By) -> None:
    bare = loop({where: change}, sgd)
    assert not same_bits(bare, loop({}, sgd)), "the change by hand changes nothing: it tests nothing"
    ours, (answer,), run = edited(lambda: loop({}, sgd), where, line)
    assert isinstance(answer, Edited), answer
    assert run.error is None
    assert same_bits(ours, bare)


def test_a_tuple_of_numbers_is_set_whole_or_one_by_one() -> None:
    def adam(parameters: Any) -> torch.optim.Optimizer:
        return torch.optim.AdamW(parameters, lr=torch.tensor(0.01))

    def change(_net: Any, optimiser: Any) -> None:
        optimiser.param_groups[0]["betas"] = (0.5, 0.9)

    bare = loop({"step 1": change}, adam)
    for lines in (("betas 0.5, 0.9",), ("optimiser.betas (0.5,0.9)",), ("betas[0] 0.5", "betas[-1] 0.9")):
        ours, answers, _run = edited(lambda: loop({}, adam), "step 1", *lines)
        assert all(isinstance(answer, Edited) for answer in answers), answers
        assert same_bits(ours, bare)


def test_an_lr_that_is_a_tensor_is_filled_in_place() -> None:
    held = torch.tensor(0.01)

    def adam(parameters: Any) -> torch.optim.Optimizer:
        held.fill_(0.01)
        return torch.optim.Adam(parameters, lr=held)

    bare = loop({"step 2": lambda _net, o: o.param_groups[0]["lr"].fill_(0.5)}, adam)
    ours, (answer,), _run = edited(lambda: loop({}, adam), "step 2", "lr 0.5")
    assert isinstance(answer, Edited)
    assert (answer.edits[0].before, answer.edits[0].after) == ("0.0099999998", "0.5")
    assert float(held) == 0.5, "another tensor was put in its place"
    assert same_bits(ours, bare)


def test_what_changed_is_told_in_numbers() -> None:
    seen: dict[str, torch.Tensor] = {}

    def remember(net: Any, _optimiser: Any) -> None:
        seen.update({name: p.detach().clone() for name, p in net.named_parameters()})

    loop({"step 2": remember}, sgd)
    lines = ("net.0.weight 0", "net[0].bias[2] 7", "net.*.bias *1", "lr 0.01", "requires_grad net.2.bias off")
    _, answers, _run = edited(lambda: loop({}, sgd), "step 2", *lines)
    weight, element, biases, rate, flag = (answer.edits for answer in answers if isinstance(answer, Edited))
    (edit,) = weight
    assert (edit.stop, edit.iteration, edit.target) == (10, 2, "net.0.weight")
    assert (edit.what, edit.changed, edit.numel) == ("2-norm", 24, 24)
    assert float(edit.before) == pytest.approx(float(seen["0.weight"].double().norm()), rel=1e-5)
    assert edit.after == "0"
    (edit,) = element
    assert (edit.target, edit.what, edit.changed, edit.numel) == ("net.0.bias[2]", "value", 1, 1)
    assert torch.tensor(float(edit.before)) == seen["0.bias"][2], "the text does not tell the number"
    assert edit.after == "7"
    assert [(e.target, e.changed, e.numel) for e in biases] == [("net.0.bias", 0, 6), ("net.2.bias", 0, 1)]
    assert [(e.target, e.before, e.after) for e in rate] == [("optimiser[0].lr", "0.1", "0.01")]
    assert [(e.target, e.before, e.after) for e in flag] == [("net.2.bias.requires_grad", "True", "False")]
    assert "its .grad stays" in flag[0].note


def test_the_parameters_read_after_it_have_changed_since_the_stop_before() -> None:
    pages: list[Any] = []

    async def visit(session: ThreadSession, stop: StopRecord) -> None:
        if stop.number <= 3:
            pages.append(await session.request(m.GetParameters(0)))
        if stop.number == 2:
            values = m.GetValues(0, "net.0.bias")
            before = await session.request(values)
            await session.request(read_set("net.0.bias 3"))
            pages.append(await session.request(m.GetParameters(0)))
            after = await session.request(values)
            assert before.value.cells != after.value.cells
            assert after.value.stats.min == after.value.stats.max == 3

    drive(lambda: loop({}, sgd, 1), visit=visit)
    changed = [{row.name: row.value_changed for row in page.rows} for page in pages]
    assert changed[1] == dict.fromkeys(changed[1], False)
    assert changed[2] == {**changed[1], "net.0.bias": True}
    assert changed[3] == changed[1], "it is no change of the next stop's"


# ── what cannot be done ─────────────────────────────────────────────────────────────────────────────────────

REFUSED = [
    ("net.0.wieght 0", "there is no parameter or setting net.0.wieght: did you mean net.0.weight?"),
    ("l 0.1", "there is no parameter or setting l: did you mean lr?"),
    ("zzzzzz 0", "there is no parameter or setting zzzzzz"),
    ("net.*.gamma 0", "no parameter matches net.*.gamma"),
    ("net[0] 0", "net[0] is a module: net[0].* means all parameters in it"),
    ("net 0", "net is a module: net.* means all parameters in it"),
    ("net.0 0", "net.0 is a module: net.0.* means all parameters in it"),
    ("requires_grad net.0 no", "net.0 is a module: net.0.* means all parameters in it"),
    ("optimiser.beta 0", "optimiser has no setting 'beta'; it has lr, momentum, dampening, weight_decay, nesterov"),
    ("optimiser[1].lr 0", "there is no param group optimiser[1], only optimiser[0]"),
    ("lr -1", "optimiser[0].lr must not be negative, so not -1"),
    ("lr nan", "optimiser[0].lr cannot be nan"),
    ("lr true", "optimiser[0].lr is 0.1: it takes a number"),
    ("lr 1, 2", "optimiser[0].lr is one number, not 2"),
    ("lr[0] 1", "optimiser[0].lr is one value, so it takes no index"),
    ("nesterov 0.5", "optimiser[0].nesterov is False: it takes true or false"),
    ("foreach true", "optimiser[0].foreach chooses how step is computed: it cannot be changed once"),
    ("net.0.bias[6] 1", "0.bias[6]: the shape is (6,), so there is no [6] in 6"),
    ("net.0.bias[0, 0] 1", "0.bias[0, 0]: the shape is (6,), so at most 1 indices"),
    ("net.0.bias[6:] 1", "0.bias[6:] chooses no elements"),
    ("net.0.bias true", "0.bias is float32: it takes a number, not true"),
    ("net.0.bias 1, 2", "0.bias takes one number for all its elements, not 2"),
    ("net.0.bias 1e39", "0.bias is float32, which ends at 3.403e+38: 1e+39 would be inf"),
    ("net.0.bias.grad 1", "0.bias has no gradient: .grad is None"),
]


@pytest.mark.parametrize(("line", "words"), REFUSED, ids=lambda value: value)
def test_what_cannot_be_done_is_refused_in_one_line_and_changes_nothing(line: str, words: str) -> None:
    ours, (answer,), run = edited(lambda: loop({}, sgd), "zero_grad 1", line)
    assert isinstance(answer, str), answer
    assert answer.startswith(words)
    assert "\n" not in answer
    assert run.error is None
    assert same_bits(ours, loop({}, sgd))


def test_a_refusal_of_one_of_several_leaves_all_as_they_were() -> None:
    ours, (answer,), _run = edited(lambda: loop({}, sgd), "forward 2", "net.*.grad 1")
    assert isinstance(answer, str)
    assert same_bits(ours, loop({}, sgd))


def test_what_the_graph_has_saved_is_left_alone_and_its_bias_is_not() -> None:
    """Writing into a weight between forward and backward makes a bare loop's backward raise."""
    by_hand = {"backward 2": no_grad(lambda net, _o: net[2].weight.fill_(0))}
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loop(by_hand, sgd)
    lines = ("net.2.weight 0", "net[2].weight[0, 0] 0", "net.* *2", "net.2.bias 1")
    ours, answers, run = edited(lambda: loop({}, sgd), "backward 2", *lines)
    for answer in answers[:3]:
        assert isinstance(answer, str)
        assert "cannot be set here: the graph has saved it for backward (AddmmBackward0), which would raise" in answer
        assert answer.endswith("before the next forward or after the backward it can be")
    assert isinstance(answers[3], Edited)
    assert run.error is None
    bare = loop({"backward 2": no_grad(lambda net, _o: net[2].bias.fill_(1))}, sgd)
    assert same_bits(ours, bare)


def test_the_first_weight_is_saved_where_the_input_wants_a_gradient_only() -> None:
    """Whether a graph has saved a tensor is looked at, not guessed from its name."""
    by_hand = {"backward 2": no_grad(lambda net, _o: net[0].weight.fill_(0.5))}
    bare = loop(by_hand, sgd)  # does not raise
    ours, (answer,), _run = edited(lambda: loop({}, sgd), "backward 2", "net.0.weight 0.5")
    assert isinstance(answer, Edited), answer
    assert same_bits(ours, bare)


@pytest.mark.parametrize("reentrant", [False, True])
def test_a_forward_that_runs_again_in_backward_keeps_its_parameters(reentrant: bool) -> None:
    def train() -> list[torch.Tensor]:
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 1))
        x = X.clone().requires_grad_()
        optimiser = torch.optim.SGD(net.parameters(), lr=0.1)
        for _ in range(2):
            optimiser.zero_grad()
            output = checkpoint(net, x, use_reentrant=reentrant)
            F.mse_loss(output, Y).backward()
            optimiser.step()
        return [p.detach().clone() for p in net.parameters()]

    torch.manual_seed(0)
    bare = train()
    ours, (answer,), run = edited(train, "backward 2", "net.0.bias 0")
    assert isinstance(answer, str)
    assert "backward runs a part of the forward again" in answer
    assert run.error is None
    assert same_bits(ours, bare)


class Scaled(torch.autograd.Function):
    """A function of the script's own, which saves its parameter."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x, scale)
        return x * scale

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x, scale = ctx.saved_tensors
        return grad * scale, (grad * x).sum(0)


def test_what_a_custom_function_has_saved_is_left_alone() -> None:
    def train() -> None:
        net = nn.Linear(4, 4)
        net.scale = nn.Parameter(torch.ones(4))
        optimiser = torch.optim.SGD(net.parameters(), lr=0.1)
        loss = Scaled.apply(net(X), net.scale).square().mean()
        loss.backward()
        optimiser.step()

    _, (answer,), run = edited(train, "backward 1", "net.scale 2")
    assert isinstance(answer, str)
    assert "saved it for backward (ScaledBackward)" in answer
    assert run.error is None


def test_a_buffer_is_set_like_a_parameter() -> None:
    def train(by_hand: By = nothing) -> list[torch.Tensor]:
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6))
        net(X)
        by_hand(net, None)
        net(X)
        return list(net.state_dict().values())

    def change(net: Any, _optimiser: Any) -> None:
        net[1].running_mean[2].fill_(5)
        net[1].num_batches_tracked.fill_(100)

    results: list[Any] = []

    async def visit(session: ThreadSession, stop: StopRecord) -> None:
        if stop.number == 2:
            for line in ("net[1].running_mean[2] 5", "net.1.num_batches_tracked 100"):
                results.append(await session.request(read_set(line)))  # noqa: PERF401
            with pytest.raises(RequestError, match="num_batches_tracked is int64: it takes an integer"):
                await session.request(read_set("net.1.num_batches_tracked 0.5"))

    run = drive(lambda: results.append(train()), visit=visit)
    assert run.error is None
    ours = results.pop()
    assert [edit.target for answer in results for edit in answer.edits] == [
        "net.1.running_mean[2]", "net.1.num_batches_tracked"
    ]  # fmt: skip
    assert same_bits(ours, train(change))


def test_parameters_are_set_inside_inference_mode() -> None:
    def train(by_hand: By = nothing) -> torch.Tensor:
        torch.manual_seed(0)
        net = nn.Linear(4, 1)
        with torch.inference_mode():
            by_hand(net, None)
            net(X)
        loss = net(X).square().mean()
        loss.backward()
        return torch.cat([loss.detach().reshape(1), *(p.grad.reshape(-1) for p in net.parameters())])

    bare = train(lambda net, _o: net.weight.fill_(0.5))
    ours, (answer,), run = edited(train, "forward 1", "net.weight 0.5")
    assert isinstance(answer, Edited), answer
    assert run.error is None
    assert same_bits([ours], [bare])


def test_a_kept_graph_is_still_a_graph() -> None:
    """After `backward(retain_graph=True)` the loop may go through it again."""

    def train() -> None:
        net = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 1))
        optimiser = torch.optim.SGD(net.parameters(), lr=0.1)
        loss = net(X).square().mean()
        loss.backward(retain_graph=True)
        optimiser.zero_grad()
        loss.backward()

    _, (answer,), run = edited(train, "zero_grad 1", "net.2.weight 0")
    assert isinstance(answer, str)
    assert "saved it for backward" in answer
    assert run.error is None


class Odd(nn.Module):
    """Parameters that cannot be written, or only some numbers into."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.ones(3))
        self.whole = nn.Parameter(torch.arange(4, dtype=torch.int8), requires_grad=False)
        self.yes = nn.Parameter(torch.tensor([True, False]), requires_grad=False)
        self.nowhere = nn.Parameter(torch.empty(2, device="meta"))
        self.lazy = nn.UninitializedParameter()
        self.none = nn.Parameter(torch.empty(0, 3))
        self.short = nn.Parameter(torch.ones(2, dtype=torch.float16))
        self.turning = nn.Parameter(torch.ones(2, dtype=torch.complex64))
        self.rows = nn.Parameter(torch.eye(2).to_sparse(), requires_grad=False)
        self.alone = nn.Parameter(torch.tensor(1.5))
        with torch.inference_mode():
            self.sealed = nn.Parameter(torch.ones(2), requires_grad=False)
        if hasattr(torch, "float8_e4m3fn"):
            self.tiny = nn.Parameter(torch.ones(2).to(torch.float8_e4m3fn), requires_grad=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.w


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("odd.whole 300", "whole is int8: it takes -128 to 127"),
        ("odd.whole 1.5", "whole is int8: it takes an integer"),
        ("odd.whole *2", None),
        ("odd.whole 7", None),
        ("odd.yes 1", "yes is bool: it takes true or false"),
        ("odd.yes true", None),
        ("odd.nowhere 0", "nowhere is on the meta device: there are no values"),
        ("odd.lazy 0", "lazy is not initialised yet"),
        ("odd.none 0", "none has no elements"),
        ("odd.short 1e5", "short is float16, which ends at 6.55e+04: 100000 would be inf"),
        ("odd.short inf", None),
        ("odd.turning 2", None),
        ("odd.rows 0", "rows is sparse_coo, which cannot be set"),
        ("odd.alone[0] 1", "alone[0]: the shape is (), so at most 0 indices"),
        ("odd.alone 2", None),
        ("odd.sealed 0", "sealed was made in inference mode"),
        ("odd.tiny 2", None),
        ("requires_grad odd.whole true", "it is int8, and only floating point and complex numbers take gradients"),
        ("requires_grad odd.sealed true", "it was made in inference mode"),
        ("requires_grad odd.whole false", None),
        ("requires_grad odd.nowhere off", None),
        ("result 0", "there is no parameter or setting result"),
    ],
    ids=lambda value: value if isinstance(value, str) else "done",
)
def test_every_kind_of_tensor_is_set_or_refused_in_words(line: str, words: str | None) -> None:
    def train() -> None:
        odd = Odd()
        result = odd(torch.ones(3))
        odd(result.detach())

    _, (answer,), run = edited(train, "forward 1", line)
    assert run.error is None
    if words is None:
        assert isinstance(answer, Edited), answer
        assert all(edit.after != "?" for edit in answer.edits)
    else:
        assert isinstance(answer, str), answer
        assert words in answer
        assert "\n" not in answer


@pytest.mark.parametrize("where", ["exception", "finished"])
def test_after_the_last_phase_nothing_is_changed(where: str) -> None:
    net = nn.Linear(4, 1)

    def train() -> None:
        net(X)
        if where == "exception":
            raise ValueError("the script's own")

    before = net.weight.detach().clone()
    _, (answer,), _run = edited(train, where, "net.bias 0")
    assert isinstance(answer, str)
    assert answer.startswith("nothing of the script runs after this stop")
    assert torch.equal(net.weight, before)


def test_a_stop_after_a_free_run_says_what_it_does_not_know() -> None:
    started: list[bool] = []

    def train() -> None:
        net = nn.Linear(4, 1)
        optimiser = torch.optim.SGD(net.parameters(), lr=0.1)
        for _ in range(10**9):
            optimiser.zero_grad()
            net(X).square().mean().backward()
            optimiser.step()
            if len(started) > 1:
                return

    answers: list[Edited] = []

    async def visit(session: ThreadSession, stop: StopRecord) -> m.Action | None:
        started.append(True)
        if stop.number == 1:
            session.resume(m.Action.CONTINUE)
            session.pause()
            async for event in session.events():
                if isinstance(event, m.Stopped):
                    started.append(True)
                    answers.append(await session.request(read_set("net.bias 0")))
                    return m.Action.CONTINUE
        return None

    drive(train, visit=visit)
    assert answers[0].edits[0].note.startswith("the script ran free until here")


# ── optimizers ──────────────────────────────────────────────────────────────────────────────────────────────

OPTIMIZERS = [
    torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW, torch.optim.NAdam, torch.optim.RAdam, torch.optim.Adamax,
    torch.optim.RMSprop, torch.optim.Adagrad, torch.optim.Adadelta, torch.optim.ASGD, torch.optim.Rprop,
    torch.optim.Adafactor, torch.optim.LBFGS,
]  # fmt: skip
VALUES = (-1.0, -1e-9, 0.0, 0.5, 1.0, 1.5, 100.0, math.inf)


@pytest.mark.parametrize("kind", OPTIMIZERS, ids=lambda kind: kind.__name__)
def test_a_value_is_legal_where_torch_takes_it(kind: Any) -> None:
    """Ours are the ranges that the constructors check."""
    from stepdbg.agent import settings
    from stepdbg.agent.work import NotThereError

    weight = nn.Parameter(torch.ones(2, 2))
    optimizer = kind([weight])
    group = optimizer.param_groups[0]
    for key, now in list(group.items()):
        if type(now) not in (int, float) or isinstance(now, bool) or (key == "lambd"):
            continue
        for value in VALUES:
            if type(now) is int and key not in settings._REALS:
                continue
            try:
                kind([weight], **{key: value})
                legal = True
            except ValueError:
                legal = False
            slot = settings.Slot(key, optimizer, group, key)
            amount = read_set(f"{key} {value}").amount  # type: ignore[union-attr]
            try:
                assert settings.new_value(slot, amount) == value
                ours = True
            except NotThereError:
                ours = False
            assert ours is legal, (key, value)


@pytest.mark.parametrize(
    ("make", "line", "words"),
    [
        (lambda p: torch.optim.Adam(p), "amsgrad true", "state without 'max_exp_avg_sq', so its next step would raise"),
        (lambda p: torch.optim.RMSprop(p), "centered true", "state without 'grad_avg'"),
        (lambda p: torch.optim.RMSprop(p), "momentum 0.9", "state without a momentum buffer"),
        (lambda p: torch.optim.SGD(p, lr=0.1), "nesterov true", "nesterov wants a momentum above 0"),
        (lambda p: torch.optim.Adam(p), "betas 0.9", "takes 2 numbers, as in: 0.9, 0.999"),
        (lambda p: torch.optim.Adam(p), "betas 0.9, 1", "must be at least 0 and less than 1, so not 1"),
        (lambda p: torch.optim.Adam(p), "betas[2] 0.9", "has 2 numbers: there is no [2]"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_would_make_the_next_step_raise_is_refused(make: Any, line: str, words: str) -> None:
    ours, (answer,), run = edited(lambda: loop({}, make), "step 2", line)
    assert isinstance(answer, str), answer
    assert words in answer
    assert run.error is None
    assert same_bits(ours, loop({}, make))


def test_amsgrad_can_be_switched_before_there_is_state() -> None:
    bare = loop({}, lambda p: torch.optim.Adam(p, amsgrad=True))
    ours, (answer,), _run = edited(lambda: loop({}, torch.optim.Adam), "step 1", "amsgrad true")
    assert isinstance(answer, Edited), answer
    assert same_bits(ours, bare)


def test_a_setting_is_of_one_optimizer_one_group_or_all() -> None:
    def train() -> list[float]:
        net = nn.Linear(4, 4)
        first = torch.optim.SGD([{"params": [net.weight]}, {"params": [net.bias], "lr": 0.3}], lr=0.1)
        second = torch.optim.Adam([nn.Parameter(torch.ones(1))], lr=0.2)
        scheduler = torch.optim.lr_scheduler.StepLR(second, 10)
        net(X)
        return [group["lr"] for o in (first, second) for group in o.param_groups] + [float(scheduler.last_epoch)]

    for line, wanted in (
        ("lr 0.5", [0.5, 0.5, 0.5]),
        ("first.lr 0.5", [0.5, 0.5, 0.2]),
        ("first[1].lr 0.5", [0.1, 0.5, 0.2]),
        ("second[0].lr 0.5", [0.1, 0.3, 0.5]),
    ):
        result, (answer,), _run = edited(train, "forward 1", line)
        assert isinstance(answer, Edited)
        assert result[:3] == wanted
        notes = [edit.note for edit in answer.edits if edit.target.startswith("second")]
        assert all("when it steps it sets lr by its own rule" in note for note in notes)


def test_nothing_but_the_edit_changes_the_run() -> None:
    """The random state is the bare one's, and looking for what a graph has saved frees it as before."""

    def train() -> tuple[bytes, bytes]:
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(4, 6), nn.Dropout(0.5), nn.Linear(6, 1))
        optimiser = torch.optim.SGD(net.parameters(), lr=0.1)
        for _ in range(2):
            optimiser.zero_grad()
            net(X).square().mean().backward()
            optimiser.step()
        return net[0].weight.detach().numpy().tobytes(), torch.get_rng_state().numpy().tobytes()

    bare = train()
    ours, _answers, _run = edited(train, "backward 2", "net.2.weight 0", "net.0.zzz 0", "lr 0.1", "net.0.bias *1")
    assert ours == bare


def test_the_phases_are_those_that_were_expected() -> None:
    """The other tests go by the names of places."""
    run = edited(lambda: loop({}, sgd, 1), "step 1", "lr 0.1")[2]
    phases = [stop.next.phase for stop in run.stops if stop.next is not None]
    assert phases == [Phase.ZERO_GRAD, Phase.FORWARD, Phase.LOSS, Phase.BACKWARD, Phase.STEP]
