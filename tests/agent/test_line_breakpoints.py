"""Breakpoints on any line: where they stop, held against Python's own `bdb`; and that nobody notices them."""

from __future__ import annotations

import asyncio
import bdb
import importlib.util
import inspect
import re
import sys
import textwrap
import threading
import traceback
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

import pytest
import torch
from torch import nn

from stepdbg.agent.breakpoints import lines
from stepdbg.inprocess import ThreadSession
from stepdbg.protocol import messages as m
from stepdbg.protocol.breakpoints import Book, DeleteBreakpoint, GetBreakpoints, Kind, SetBreakpoint, Spec
from stepdbg.protocol.inside import FindTarget
from stepdbg.protocol.records import Phase, StopReason, StopRecord
from stepdbg.protocol.words import Evaluate

from .conftest import Drive, drive

ON = [m.Action.CONTINUE] * 1000
X = torch.linspace(-1, 1, 32).reshape(8, 4)
BY_TRACE = pytest.mark.skipif(lines.EVERY_LINE, reason="sys.settrace is used up to Python 3.11 only")


def line_of(function: Any, text: str = "# here") -> int:
    """The number of the line of a function's source that has that text."""
    source, first = inspect.getsourcelines(function)
    return first + next(i for i, line in enumerate(source) if text in line)


def at(function: Any, text: str = "# here", **more: Any) -> Spec:
    return Spec(Kind.LINE, __file__, line=line_of(function, text), **more)


def armed(*specs: Spec) -> m.Settings:
    return m.Settings(stop_at="never", breakpoints=specs)


def hits(run: Drive) -> list[StopRecord]:
    assert run.error is None
    assert not [event for event in run.events if isinstance(event, m.Warned)]
    return [stop for stop in run.stops if stop.reason is StopReason.BREAKPOINT]


def places(run: Drive) -> list[tuple[str, int]]:
    """Function and line of each hit."""
    stacks = [(stop.stack[stop.here or 0], stop) for stop in hits(run)]
    return [(frame.function.rpartition(".")[2], frame.line) for frame, _ in stacks]


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 8), nn.Linear(8, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x)
        scale = 2  # in forward
        return self.second(x * scale)


def train(iterations: int = 3) -> list[Any]:
    torch.manual_seed(0)
    net = Net()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    losses = []
    for i in range(iterations):
        optimizer.zero_grad()
        double = 2 * i  # plain
        noise = torch.randn(8, 4)
        loss = net(X + noise).square().mean() + double
        loss.backward()
        optimizer.step()
        losses.append(loss.item())  # last
    return [losses, *(p.detach().clone() for p in net.parameters()), torch.random.get_rng_state()]


# ── where they stop ─────────────────────────────────────────────────────────────────────────────────────────────


def test_a_line_without_a_phase_is_stopped_at_before_it_runs() -> None:
    seen: list[str] = []

    async def visit(session: ThreadSession, stop: StopRecord) -> None:
        if stop.reason is StopReason.BREAKPOINT:
            for text in ("i", "double"):
                told = await session.request(Evaluate(0, text))
                seen.append(told.error or told.lines[0])

    run = drive(train, ON, visit, armed(at(train, "# plain")))
    assert [(s.iteration, s.why) for s in hits(run)] == [
        (i, f"breakpoint 1: test_line_breakpoints.py:{line_of(train, '# plain')}") for i in (1, 2, 3)
    ]
    assert places(run) == [("train", line_of(train, "# plain"))] * 3
    assert seen[0] == "0"
    assert "NameError" in seen[1]  # it has not run
    assert seen[2:] == ["1", "0", "2", "2"]


def test_lines_before_the_first_phase_belong_to_the_iteration_that_begins() -> None:
    specs = [at(train, "zero_grad"), at(train, "# last"), at(train, "in range(")]
    run = drive(train, ON, settings=armed(*specs))
    stopped = [(s.iteration, s.why.partition(":")[0][-1]) for s in hits(run)]
    assert stopped == [*((i, n) for i in (1, 2, 3) for n in "312"), (4, "3")]  # "3" is the loop's own line


def test_a_line_of_a_forward_is_stopped_at_inside_that_phase() -> None:
    run = drive(train, ON, settings=armed(at(Net.forward, "# in forward")))
    assert places(run) == [("forward", line_of(Net.forward, "# in forward"))] * 3
    assert [[p.phase for p in s.inside] for s in hits(run)] == [[Phase.FORWARD]] * 3
    marked = [[step.phase for step in s.rail if step.state == "next"] for s in hits(run)]
    assert marked == [[Phase.FORWARD]] * 3


def counting(n: int) -> Iterator[int]:
    for i in range(n):
        j = i + 1
        yield j  # here


def use_generator() -> None:
    assert sum(counting(3)) == 6


async def waiting(n: int) -> int:
    await asyncio.sleep(0)
    n += 1  # here
    return n


def use_coroutine() -> None:
    async def both() -> list[int]:
        return await asyncio.gather(waiting(1), waiting(2))

    assert asyncio.run(both()) == [2, 3]


def use_comprehension() -> None:
    values = [i * 2 for i in range(3)]  # here
    assert values == [0, 2, 4]


def factorial(n: int) -> int:
    if n < 2:
        return 1
    return n * factorial(n - 1)  # here


def use_recursion() -> None:
    assert factorial(5) == 120


def failing(n: int) -> float:
    return 1 / n  # here


def use_exception() -> None:
    for n in (1, 0, 2):
        try:
            failing(n)
        except ZeroDivisionError:
            pass


def use_many_lines() -> None:
    value = max(  # here
        abs(-1),
        abs(-2),
    )
    assert value == 2


def use_one_line_loop() -> None:
    total = 0
    for i in range(3): total += i  # noqa: E701  # here  # fmt: skip
    assert total == 3


def use_defined_later() -> None:
    made = []
    for n in range(2):

        def inner(n: int = n) -> int:
            n += 1  # here
            return n

        made.append(inner)
    assert [f() for f in made] == [1, 2]


def use_class_body() -> None:
    class Made:
        value = 1  # here

    assert Made.value == 1


KINDS: list[tuple[Callable[[], None], Any]] = [
    (use_generator, counting), (use_coroutine, waiting), (use_comprehension, use_comprehension),
    (use_recursion, factorial), (use_exception, failing), (use_many_lines, use_many_lines),
    (use_one_line_loop, use_one_line_loop), (use_defined_later, use_defined_later), (use_class_body, use_class_body),
]  # fmt: skip


class Counting(bdb.Bdb):
    """Python's own debugger: the lines that it would stop at."""

    def __init__(self) -> None:
        super().__init__()
        self.stopped: list[tuple[str, int]] = []

    def user_line(self, frame: FrameType) -> None:
        if self.break_here(frame):
            self.stopped.append((frame.f_code.co_name, frame.f_lineno))
        self.set_continue()


@pytest.mark.parametrize(("use", "where"), KINDS, ids=lambda f: f.__name__)
def test_arrivals_are_those_of_pythons_own_debugger(use: Callable[[], None], where: Any) -> None:
    line = line_of(where)
    debugger = Counting()
    assert debugger.set_break(__file__, line) is None
    debugger.runcall(use)
    stopped = [name for name, _ in debugger.stopped]
    if lines.EVERY_LINE and use in (use_comprehension, use_one_line_loop):
        stopped = stopped[:1]  # a jump back within the line is no arrival to `sys.monitoring`
    run = drive(use, ON, settings=armed(at(where)))
    assert [name for name, _ in places(run)] == stopped
    assert {line for _, line in places(run)} == {line}


def test_conditions_counts_one_shots_and_texts() -> None:
    run = drive(
        train,
        ON,
        settings=armed(
            at(train, "# plain", condition="i == 2"),
            at(train, "# last", ignore=2),
            at(train, "# last", once=True),
            at(train, "# plain", log="{i} at {iteration}"),
            at(train, "# plain", enabled=False),
            at(train, "# last", condition="loss > 1e9 and iteration > 0"),
        ),
    )
    assert [(s.iteration, s.why.partition(":")[0]) for s in hits(run)] == [
        (1, "breakpoint 3"),
        (3, "breakpoint 1"),
        (3, "breakpoint 2"),
    ]
    logged = [event.text for event in run.events if isinstance(event, m.Logged)]
    assert logged == ["0 at 1", "1 at 2", "2 at 3"]


def test_made_at_a_stop_in_a_frame_that_is_there_and_taken_out_again() -> None:
    inside: list[Any] = []

    def script() -> None:
        net = Net()
        for i in range(6):
            net(X)
            frame = sys._getframe()
            inside.append((i, sys.gettrace() is not None, frame.f_trace is not None))  # here

    books: list[Book] = []

    async def visit(session: ThreadSession, stop: StopRecord) -> m.Action:
        if stop.number == 1:
            books.append(await session.request(SetBreakpoint(0, at(script))))
        if stop.number == 3:
            await session.request(DeleteBreakpoint(0, 1))
            return m.Action.NEXT
        return m.Action.CONTINUE

    run = drive(script, (), visit)
    assert places(run) == [("script", line_of(script))] * 2
    assert books[0].message == f"breakpoint 1: test_line_breakpoints.py:{line_of(script)}"
    on = not lines.EVERY_LINE
    assert inside == [(0, on, on), (1, False, False), *((i, False, False) for i in range(2, 6))]


def test_nothing_is_put_in_for_other_breakpoints() -> None:
    seen: list[Any] = []

    def script() -> None:
        net = Net()
        for _ in range(3):
            net(X).sum().backward()
            seen.append(sys.gettrace())

    drive(script, ON, settings=armed(Spec(Kind.PHASE, "backward"), at(train, "# plain", enabled=False)))
    assert seen == [None] * 3


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def test_a_helper_that_is_imported_later_and_the_body_of_a_main_module(tmp_path: Path) -> None:
    helper = tmp_path / "helper_of_lines.py"
    helper.write_text("import functools\n\n@functools.lru_cache\ndef double(x):\n    y = 2 * x\n    return y\n")
    main = tmp_path / "main_of_lines.py"
    main.write_text('seen = []\nif __name__ == "__main__":\n    for i in range(2):\n        seen.append(i)\n')

    def script() -> None:
        try:
            assert load(helper).double(2) == 4
            space = {"__name__": "__main__", "__file__": str(main)}
            exec(compile(main.read_text(), str(main), "exec"), space)
            assert space["seen"] == [0, 1]
        finally:
            sys.modules.pop("helper_of_lines", None)

    run = drive(script, ON, settings=armed(Spec(Kind.LINE, str(helper), 5), Spec(Kind.LINE, str(main), 4)))
    assert places(run) == [("double", 5), ("<module>", 4), ("<module>", 4)]


def test_the_line_of_a_decorated_function_is_found_and_not_the_next_ones(tmp_path: Path) -> None:
    helper = tmp_path / "decorated_of_lines.py"
    text = """
    def register(f):
        REGISTRY.append(lambda: f())
    REGISTRY = []
    @register
    def first():
        return 1
    def second():
        return 2
    """
    helper.write_text(textwrap.dedent(text))
    module = load(helper)
    books: list[Book] = []

    async def visit(session: ThreadSession, stop: StopRecord) -> None:
        if stop.number == 1:
            books.append(await session.request(SetBreakpoint(0, Spec(Kind.LINE, str(helper), line=7))))

    def script() -> None:
        Net()(X)
        assert module.REGISTRY[0]() == 1

    try:
        run = drive(script, ON, visit)
    finally:
        del sys.modules["decorated_of_lines"]
    assert books[0].rows[0].spec.line == 7
    assert places(run) == [("first", 7)]


@pytest.mark.parametrize("text", ["# plain", "# last"])
def test_until_any_line(text: str) -> None:
    async def visit(session: ThreadSession, stop: StopRecord) -> m.Action | None:
        if stop.number in (1, 2):
            session.resume(m.Action.UNTIL, await session.request(FindTarget(0, str(line_of(train, text)))))
            return None
        return m.Action.CONTINUE

    run = drive(train, (), visit)
    assert run.error is None
    assert [(s.iteration, s.reason) for s in run.stops[1:3]] == [(1, StopReason.STEP), (2, StopReason.STEP)]
    assert [s.stack[s.here or 0].line for s in run.stops[1:3]] == [line_of(train, text)] * 2
    assert [s.why for s in run.stops[1:3]] == [f"line {line_of(train, text)} of test_line_breakpoints.py"] * 2
    assert len(run.stops) == 4


def test_until_a_line_without_code_runs_to_the_next_one_that_has() -> None:
    said: list[str] = []
    first = train.__code__.co_firstlineno

    async def visit(session: ThreadSession, stop: StopRecord) -> m.Action | None:
        if stop.number == 1:
            target = await session.request(FindTarget(0, str(line_of(Net.forward, "return") + 1)))
            said.append(target.words)
            with pytest.raises(Exception, match="has no code at line 99999 or after it"):
                await session.request(FindTarget(0, "99999"))
        return m.Action.CONTINUE

    drive(train, (), visit)
    assert said == [f"line {first} of test_line_breakpoints.py (line {line_of(Net.forward, 'return') + 1} has no code)"]


# ── scripts with a tracer of their own ──────────────────────────────────────────────────────────────────────────


def own_tracer(*_: Any) -> None:
    return None


@BY_TRACE
def test_a_script_that_traces_itself_is_left_alone_and_told_of() -> None:
    seen: list[Any] = []
    books: list[Book] = []

    def script() -> None:
        net = Net()
        sys.settrace(own_tracer)
        net(X)
        for i in range(2):
            x = X + i  # no phase here
            net(x), net(x)  # here
            seen.append(sys.gettrace() is own_tracer)
        sys.settrace(None)

    async def visit(session: ThreadSession, stop: StopRecord) -> m.Action:
        if stop.number == 1:
            books.append(await session.request(SetBreakpoint(0, at(script))))
            books.append(await session.request(SetBreakpoint(0, at(script, "# no phase here"))))
        return m.Action.CONTINUE

    run = drive(script, (), visit)
    assert run.error is None
    assert [(s.why[:12], s.stack[s.here or 0].line) for s in run.stops[1:-1]] == [("breakpoint 1", line_of(script))] * 2
    assert seen == [True, True]
    remark = "the script has a tracer of its own: stops only where a phase or module is called from this line"
    assert books[0].message.endswith(f"({remark})")
    assert [row.note for row in books[1].rows] == [remark] * 2
    assert [e.text for e in run.events if isinstance(e, m.Warned)] == [f"breakpoint 1: {remark}"]


@BY_TRACE
def test_a_tracer_that_comes_and_goes() -> None:
    seen: list[Any] = []

    def script() -> None:
        net = Net()
        for i in range(8):
            net(X)
            before = sys.gettrace()
            if i in (2, 3):
                sys.settrace(own_tracer)  # leaves it in
            elif i == 4:
                sys.settrace(None)
            elif i == 6:  # borrows
                sys.settrace(own_tracer)
                sys.settrace(before)
            net(X)
            double = 2 * i  # here
            seen.append((double // 2, sys.gettrace() is own_tracer))

    run = drive(script, ON, settings=armed(at(script)))
    assert run.error is None
    stopped = [s for s in run.stops if s.reason is StopReason.BREAKPOINT]
    assert {s.stack[s.here or 0].line for s in stopped} == {line_of(script)}
    assert len(stopped) == 6  # all but the two in which the script's own was in
    assert seen == [(i, i in (2, 3)) for i in range(8)]
    assert len([event for event in run.events if isinstance(event, m.Warned)]) == 1


# ── nobody notices ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("condition", ["", "i < 0", "loss > 1e9", "torch.rand(1) < 0"])
def test_the_run_is_the_bare_one(condition: str) -> None:
    bare = train()
    results: list[Any] = []
    specs = [at(train, "# plain", condition=condition), at(Net.forward, "# in forward", log="{x.shape}")]

    async def visit(session: ThreadSession, _stop: StopRecord) -> None:
        await session.request(m.GetParameters(0))
        await session.request(GetBreakpoints(0))

    run = drive(lambda: results.append(train()), ON, visit, armed(*specs))
    assert len(hits(run)) == (0 if condition else 3)
    for ours, theirs in zip(results[0], bare, strict=True):
        assert torch.equal(ours, theirs) if isinstance(ours, torch.Tensor) else ours == theirs
    assert sys.gettrace() is None


class Thing:
    """Can be referred to weakly."""


def in_armed(dead: list[bool]) -> None:
    one = Thing()
    ref = weakref.ref(one)
    one = Thing()  # here
    dead.append(ref() is None)
    ref = weakref.ref(one)
    del one
    dead.append(ref() is None)


def in_argument(dead: list[bool]) -> None:
    boxes = [Thing()]
    takes(dead, boxes.pop())


def takes(dead: list[bool], one: Any) -> None:
    ref = weakref.ref(one)
    one = None
    dead.append(ref() is None)  # up to Python 3.10 the caller holds it


def in_closure(dead: list[bool]) -> None:
    one = Thing()
    ref = weakref.ref(one)

    def sets() -> None:
        nonlocal one
        one = Thing()
        dead.append(ref() is None)

    sets()
    dead.append(ref() is None)


def in_generator(dead: list[bool]) -> None:
    def things() -> Iterator[Any]:
        for _ in range(3):
            one = Thing()
            yield weakref.ref(one)
            del one
            yield None

    refs = []
    for ref in things():
        if ref is None:
            dead.append(refs[-1]() is None)
        else:
            refs.append(ref)


def in_exception(dead: list[bool]) -> None:
    one = Thing()
    ref = weakref.ref(one)
    try:
        raise ValueError  # here
    except ValueError:
        del one
        dead.append(ref() is None)


USES = [in_armed, in_argument, in_closure, in_generator, in_exception]


@pytest.mark.parametrize("stops", [False, True])
@pytest.mark.parametrize("use", USES, ids=lambda f: f.__name__)
def test_nothing_lives_longer_not_by_a_line(use: Callable[[list[bool]], None], stops: bool) -> None:
    bare: list[bool] = []
    use(bare)
    assert all(bare) or (use is in_argument and sys.version_info < (3, 11))
    dead: list[bool] = []

    specs = [at(in_armed, condition="" if stops else "0 > 1"), at(in_exception, condition="" if stops else "0 > 1")]
    run = drive(lambda: use(dead), ON, settings=armed(*specs))
    assert run.error is None
    assert dead == bare


@BY_TRACE
def test_what_the_user_and_other_threads_set_stays_set() -> None:
    """A tracer's snapshot is written back when it returns: that must not undo anything."""
    seen: list[Any] = []

    def script() -> None:
        shared, own = 1, 1

        def change() -> None:
            nonlocal shared
            shared += 1

        def work() -> int:
            there = shared
            thread = threading.Thread(target=change)
            thread.start()
            thread.join()
            own_too = 1  # here
            return shared + there + own_too

        seen.append((work(), own, shared))

    async def visit(session: ThreadSession, stop: StopRecord) -> None:
        if stop.reason is StopReason.BREAKPOINT:
            for frame, text in ((0, "there = 10"), (1, "own = 5")):
                told = await session.request(Evaluate(0, text, statement=True, frame=frame))
                assert told.error == ""

    run = drive(script, ON, visit, armed(at(script)))
    assert len(hits(run)) == 1
    assert seen == [(13, 5, 2)]


def test_a_caught_and_printed_traceback_is_the_bare_one() -> None:
    def script() -> str:
        try:
            failing(0)
        except ZeroDivisionError:
            return traceback.format_exc()
        return ""

    results: list[str] = []
    run = drive(lambda: results.append(script()), ON, settings=armed(at(failing), at(script, "failing(0)")))
    assert len(hits(run)) == 2
    assert results == [script()]


def test_a_jit_trace_records_what_it_records_bare() -> None:
    def script() -> str:
        torch.manual_seed(0)
        return re.sub(r"\.___torch_mangle_\d+", "", str(torch.jit.trace(Net(), X, check_trace=False).inlined_graph))

    bare = script()
    results: list[str] = []
    run = drive(lambda: results.append(script()), ON, settings=armed(at(Net.forward, "# in forward")))
    assert hits(run) == []
    assert results == [bare]


class Told(torch.utils.data.Dataset[int]):
    """Tells what its worker has."""

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> int:
        value = index  # here
        return value + 10 * (sys.gettrace() is not None) + 100 * (sys._getframe().f_trace is not None)


def test_workers_of_a_data_loader_run_bare() -> None:
    results: list[list[int]] = []

    def script() -> None:
        loader = torch.utils.data.DataLoader(Told(), batch_size=4, num_workers=1)
        results.extend(batch.tolist() for batch in loader)

    run = drive(script, ON, settings=armed(at(Told.__getitem__)))
    assert hits(run) == []
    assert results == [[0, 1, 2, 3]]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_dynamo_captures_the_same_graphs() -> None:
    from torch._dynamo.testing import CompileCounter

    def script() -> tuple[int, int, list[float]]:
        torch._dynamo.reset()
        torch.manual_seed(0)
        counter = CompileCounter()
        net = Net()

        @torch.compile(backend=counter)
        def compiled(x: torch.Tensor) -> torch.Tensor:
            x = net(x)
            torch._dynamo.graph_break()
            x = helper(x)
            return x.sum()

        losses = []
        for i in range(4):
            losses.append(compiled(X).item())
            losses.append(float(i))  # here
        return counter.frame_count, counter.op_count, losses

    def helper(x: torch.Tensor) -> torch.Tensor:
        x = x * 2  # in helper
        return x.cos()

    bare = script()
    results: list[Any] = []
    run = drive(lambda: results.append(script()), ON, settings=armed(at(script), at(helper, "# in helper")))
    assert results == [bare]
    assert [name for name, _ in places(run)].count("script") == 4


@BY_TRACE
def test_let_go_of_by_a_detach() -> None:
    seen: list[Any] = []

    def script() -> None:
        net = Net()
        for _ in range(3):
            net(X)
            seen.append((sys.gettrace() is None, sys._getframe().f_trace is None))  # here

    async def visit(session: ThreadSession, stop: StopRecord) -> None:
        if stop.reason is StopReason.BREAKPOINT:
            await session.close(detach=True)

    drive(script, ON, visit, m.Settings(stop_at="never", on_detach="continue", breakpoints=(at(script),)))
    assert seen == [(True, True)] * 3
