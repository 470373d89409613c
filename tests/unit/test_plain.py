"""Records as plain text: what stands in the lines is what stands in the record."""

from __future__ import annotations

import math
from dataclasses import replace

from stepdbg.plain import compare, graph, inside, memory, parameters, step, stop, text, values, words
from stepdbg.protocol.compare import DiffPage, DiffRow
from stepdbg.protocol.edits import Edit
from stepdbg.protocol.graph import Watching
from stepdbg.protocol.inside import Grain, Place
from stepdbg.protocol.memory import MemoryRecord
from stepdbg.protocol.records import (
    ExceptionInfo,
    Frame,
    LossValue,
    ParameterPage,
    ParameterRow,
    Phase,
    PhaseRun,
    SourceText,
    StopReason,
    StopRecord,
    TensorStats,
    TensorView,
    ValuesRecord,
)
from stepdbg.protocol.step import Explanation
from stepdbg.protocol.trends import StepTrend, Trends
from stepdbg.protocol.values import Marked, MarkedModules
from stepdbg.protocol.words import Evaluated, TensorTold, Variables

STACK = (Frame("/x/train.py", 12, "train", is_user=True), Frame("/x/train.py", 30, "<module>", is_user=True))
STOP = StopRecord(
    3, StopReason.STEP, 2, 1, (PhaseRun(Phase.FORWARD, "net", seconds=0.002),), PhaseRun(Phase.BACKWARD, "loss"), (),
    (),
    LossValue(0.25, None, "MSELoss", 2), STACK, 0, "MainThread", 0.1, None, lrs=(("optimiser", 0.1),),
)  # fmt: skip
STATS = TensorStats(4, -1.0, 2.0, 0.5, 1.0, 2.5, zeros=1, nan=1, posinf=0, neginf=0)


def test_a_stop_says_where_and_why() -> None:
    assert stop.lines(STOP) == [
        "stop 3 · iteration 2 · before backward of loss",
        "  ran   forward of net (2.0 ms)",
        "  loss  0.25 (MSELoss)",
        "  at    train.py:12 in train",
    ]
    place = Place(Grain.MODULE, "after", "net.2", "Linear")
    within = replace(STOP, at=place, inside=(PhaseRun(Phase.FORWARD, "net"),), why="breakpoint 1", micro_batch=2)
    assert stop.lines(within)[0] == (
        "stop 3 · iteration 2, micro-batch 2 · after net.2 (Linear) in forward of net · breakpoint 1"
    )
    died = replace(STOP, reason=StopReason.EXCEPTION, next=None, exception=ExceptionInfo("ValueError", "no", "T\nno\n"))
    assert stop.lines(died)[0].endswith("ValueError: no")
    assert stop.lines(died)[-2:] == ["  T", "  no"]
    assert stop.rates(STOP.lrs)[1].split() == ["optimiser", "0.1"]


def test_what_stopped_it_is_told_whole_however_long_it_is() -> None:
    why = "watch 1: aten.log.default (train.py:12 in net) made 6 of 12 elements not finite (6 nan), first nan at [0, 2]"
    place = Place(Grain.OP, "after", "aten.log.default", "net")
    within = replace(STOP, at=place, inside=(PhaseRun(Phase.FORWARD, "net"),), why=why)
    for width in (80, 120):
        lines = stop.lines(within, width)
        assert lines[0] == "stop 3 · iteration 2 · after aten.log.default (net) in forward of net"
        assert max(map(len, lines)) <= width
        told = " ".join(line.strip() for line in lines)
        assert f"why   {why}" in told


def test_another_thread_than_the_main_one_is_named() -> None:
    assert (
        stop.lines(replace(STOP, thread="Thread-1 (work)"))[-1]
        == "  at    train.py:12 in train, thread Thread-1 (work)"
    )


def test_a_loss_of_another_iteration_says_of_which() -> None:
    assert "  loss  0.25 (MSELoss, of iteration 2)" in stop.lines(replace(STOP, iteration=4))


def test_a_leafs_node_is_told_with_its_parameter() -> None:
    place = Place(Grain.NODE, "before", "AccumulateGrad", parameter="net.0.bias")
    assert "before AccumulateGrad (net.0.bias)" in stop.lines(replace(STOP, at=place))[0]
    update = Place(Grain.PARAMETER, "before", "net.0.bias", parameter="net.0.bias")
    assert stop.lines(replace(STOP, at=update))[0].endswith("before net.0.bias")


def test_a_place_between_phases_is_said_to_be_there() -> None:
    place = Place(Grain.OP, "after", "aten.mul_.Tensor", parameter="net.weight")
    assert inside.lines(replace(STOP, at=place, inside=())) == ["between phases: after mul_.Tensor"]


def test_frames_and_source() -> None:
    assert stop.stack(STOP, 1) == ["   0  train.py:12 in train", "▶  1  train.py:30 in <module>"]
    assert stop.chosen(STOP, None, None, 1) == 1
    assert stop.chosen(STOP, 1, None, 1) == "up: this is the outermost frame"
    assert stop.chosen(STOP, None, None, -1) == "down: this is the innermost frame"
    assert stop.chosen(STOP, None, 7, 0) == "there is no frame 7: bt lists the 2 there are"
    alone = replace(STOP, stack=STACK[:1])
    assert stop.chosen(alone, None, 7, 0) == "there is no frame 7: 0 is the only one"
    source = SourceText("/x/train.py", "a\nb\nc", changed=False)
    assert stop.source(source, 2) == ["      1  a", "▶     2  b", "      3  c"]


def test_values_in_words() -> None:
    told = TensorTold("Parameter", "float32", (2, 2), "cpu", True, "", STATS, ("-1", "2"))
    assert words.tensor(told) == [
        "Parameter float32 2×2 on cpu, requires grad",
        "  min -1   max 2   mean 0.5   std 1   norm 2.5",
        "  1 NaN of 4 elements",
        "  [-1, 2 …]",
    ]
    assert words.brief(Evaluated(1, "w", "Tensor", tensor=told)) == "float32 2×2: min -1, max 2, mean 0.5, 1 not finite"
    one = replace(told, shape=(), made_by="MeanBackward0", stats=replace(STATS, numel=1), first=("0.5",))
    assert words.tensor(one)[0] == "0.5  (Parameter float32 scalar on cpu, MeanBackward0)"
    assert words.lines(Evaluated(1, "x", error="NameError: x")) == ["x: NameError: x"]
    assert words.lines(Evaluated(1, "x = 1", assigned=("x",), note="n")) == ["set x", "n"]
    assert words.variables(Variables(1, "f", (("a", "1"), ("long", "2")), 3)) == ["a    = 1", "long = 2", "… 3 more"]


def test_parameters_memory_and_graph() -> None:
    row = ParameterRow(
        "net.weight", (), (2, 3), "float32", "cpu", 6, 24, True, "optimiser[0]", "SGD", 1.5, None, "none", None, None,
        marks=("unreached",), cause="net was not called",
    )  # fmt: skip
    page = ParameterPage(1, 0, 2, 2, (row, replace(row, name="net.bias", grad="dense", grad_norm=math.inf)))
    lines = parameters.lines(page)
    assert lines[1].split() == [
        "net.weight",
        "2×3",
        "1.5",
        "none",
        "optimiser[0]",
        "unreached;",
        "net",
        "was",
        "not",
        "called",
    ]
    assert lines[2].split()[3] == "inf"
    assert lines[-1] == "2 parameters"
    assert memory.lines(MemoryRecord(1, 2048, 0, 0, 0, 0, None, 0))[0].split() == ["parameters", "2,048", "B"]
    assert graph.watching(Watching(True, True)) == ["recorded: grads and stacks"]


def test_numbers_of_tensors_differences_steps_and_edits() -> None:
    view = TensorView((2, 2), "float32", "cpu", 16, STATS, 2, 2, 0, 0, (("1.0", "-2.5"), ("nan", "0.1")))
    assert values.lines(ValuesRecord(1, "w", view, None, "none")) == [
        "value: float32 2×2 on cpu, 16 B",
        "  min -1   max 2   mean 0.5   std 1   norm 2.5   zeros 1   not finite 1",
        "    1  -2.5",
        "  nan   0.1",
        "grad: none",
    ]
    assert values.marked(MarkedModules((Marked("net.2", 1, 24),), 100)) == ["net.2: 1 call, 24 B"]
    row = DiffRow("w", "differs", (2,), norm=1.0, other_norm=2.0, delta=1.0, ratio=1.0)
    page = DiffPage(1, 0, 1, (row,), "stop 1", "now", 0, 1, 0, 0)
    assert compare.lines(page)[0] == "A stop 1, B now: 1 differ, 0 equal"
    assert compare.lines(page)[2].split() == ["w", "differs", "2", "1", "2", "1", "1"]
    others = (replace(row, shape=()), replace(row, state="other shape", shape=(4, 3), other_shape=(2,)))
    assert [line.split()[2:4] for line in compare.lines(replace(page, rows=others))[2:]] == [
        ["scalar", "1"],
        ["shape", "4×3"],
    ]
    assert " 4×3 : 2 " in compare.lines(replace(page, rows=others))[3]
    edit = Edit(1, 1, "net.bias", "2-norm", "0.5", "0", 6, 6, "remark")
    assert compare.edits([edit]) == ["net.bias: 2-norm 0.5 → 0 (6 of 6 elements)", "  remark"]
    assert compare.edits([]) == ["nothing has been set by hand"]
    assert step.lines(Explanation(1, "w", (0,), (1,), "float32", note="why")) == ["w[0]: why"]
    without = Explanation(1, "w", (0,), (1,), "float32", tells="did", optimizer="opt", kind="NAdam", note="no formula")
    without = replace(without, before="1.0", after="0.8", change="-0.2")
    assert step.lines(without)[0] == "what NAdam opt did to w[0]"
    assert step.lines(without)[-2:] == ["  before 1.0, after 0.8, change -0.2", "  no formula"]
    assert step.lines(replace(without, after=None, change=None))[-2] == "  before 1.0"
    trends = Trends(1, (StepTrend(0, 0, 4, "opt", 2.0, value_norm=3.0, update_norm=0.5),))
    assert step.trends(trends)[1].split() == ["4", "opt", "2", "3", "0.5"]


def test_tables_align_and_cut_the_last_column_only() -> None:
    lines = text.table(("a", "n", "note"), [("x", "1", "y" * 200), ("xx", "22", "")], right=(1,), width=40)
    assert lines[0] == "a    n  note"
    assert lines[2] == "xx  22"
    assert lines[1].endswith("y…")
    assert len(lines[1]) == 40
    assert text.cut("日本語", 5) == "日本…"


def test_of_how_many_backwards_gradients_are_is_said_only_where_it_is_known() -> None:
    record = MemoryRecord(1, 2048, 2048, 2, 0, 0, None, None)
    assert memory.statement(record).startswith("gradients of 2 parameters: of how many backward passes is not known")
    assert "cleared" in memory.statement(replace(record, backwards=0))
    assert "1 backward pass" in memory.statement(replace(record, backwards=1))
    assert "4 backward passes are summed in place" in memory.statement(replace(record, backwards=4))
