"""The memory pane on made-up records, its bars, and the words."""

from __future__ import annotations

from dataclasses import replace

import pytest
from pane_host import Host, full, memory, stop, view
from textual.widgets import Static

from stepdbg.client.memory import Moment, peak, timeline
from stepdbg.client.store import Recorded
from stepdbg.plain.memory import cleared, process_peak, statement
from stepdbg.plain.memory import lines as plain_lines
from stepdbg.protocol.memory import (
    Category,
    Clearing,
    DeviceBytes,
    GetOtherMemory,
    MemoryNote,
    OtherMemory,
    SavedBy,
    Summed,
)
from stepdbg.protocol.messages import GetMemory
from stepdbg.protocol.records import Phase, PhaseRun
from stepdbg.ui.panes.memory import MemoryPane
from stepdbg.ui.panes.memory.chart import NOTHING, chart, column
from stepdbg.ui.panes.memory.model import peak_sentence


def table(app) -> list[str]:
    return [line.rstrip() for line in str(app.query_one(".memory--table", Static).content).rstrip("\n").split("\n")]


def cells(line: str) -> list[str]:
    """What stands left of the bars, without the mark."""
    return line[2:44].split()


async def test_memory_by_category_with_change_and_course():
    before = full(stop=stop(4), memory=memory(4, gradients=0, graph=0), rss=230 << 20)
    app = Host(MemoryPane(), view(before, full()))
    async with app.run_test(size=(76, 16)):
        rows = table(app)
        assert rows[0] == "gradients of 4 parameters: of 1 backward pass."
        assert cells(rows[1]) == ["parameters", "296", "B", "="]
        assert cells(rows[2]) == ["gradients", "148", "B", "+148", "B"]
        assert cells(rows[5])[3:5] == ["1.4", "KiB"]
        assert cells(rows[6])[:5] == ["held", "for", "training", "1.8", "KiB"]
        assert cells(rows[7])[2:6] == ["231", "MiB", "+1.0", "MiB"]
        assert cells(rows[8]) == ["other", "tensors", "press", "4"]
        assert cells(rows[9]) == ["debugger's", "own", "≥", "0", "B"]
        assert cells(rows[10]) == ["earlier", "values", "0", "B", "≤", "256", "MiB"]
        assert rows[11][45:].split() == ["b", "▲"]
        assert "1.8 KiB held for training" in app.pane.border_title
        assert app.wanted() == [GetOtherMemory(0)]  # the pane has the keys


async def test_memory_not_measured_is_a_gap_and_a_sentence():
    app = Host(MemoryPane(), view(full(), full(stop=stop(6), memory=None)))
    async with app.run_test(size=(76, 14)):
        assert table(app)[0] == "Reading…"
        assert "unknown" in table(app)[1]
        assert cells(table(app)[7])[2:4] == ["231", "MiB"]
        assert app.wanted() == [GetMemory(0)]


async def test_an_unknown_graph_makes_the_sum_a_lower_bound():
    known = memory(graph=None, note="the loss is not reachable")
    app = Host(MemoryPane(), view(full(memory=known)))
    async with app.run_test(size=(76, 16)):
        assert "unknown" in table(app)[5]
        assert "at least 444 B" in app.pane.border_title
        assert "the loss is not reachable." in table(app)
        assert any(line.startswith("▲ peak at least 444 B after") for line in table(app))


async def test_cuda_and_other_tensors_have_rows_of_their_own():
    known = memory(devices=(DeviceBytes("cuda:0", 1 << 20, 2 << 20, 3 << 20, 4 << 20),), own=2048, own_copies=1024)
    others = OtherMemory(5, 4096, 3, (), 512, 0, 2048, 1 << 20, hidden=7)
    app = Host(MemoryPane(), view(full(memory=known, others=others)))
    async with app.run_test(size=(76, 22)):
        rows = table(app)
        assert cells(rows[8]) == ["other", "tensors", "4.0", "KiB"]
        assert cells(rows[9]) == ["debugger's", "own", "≈1.0", "MiB"]
        assert cells(rows[10]) == ["earlier", "values", "1.0", "KiB", "≤", "256", "MiB"]
        assert cells(rows[12]) == ["cuda:0", "allocated", "1.0", "MiB", "▲3.0", "MiB"]
        assert cells(rows[13]) == ["cuda:0", "reserved", "2.0", "MiB", "▲4.0", "MiB"]
        text = " ".join(rows)
        assert "512 B are inputs that checkpointed calls keep" in text
        assert "without those that gc.freeze() hides" in text


@pytest.mark.parametrize("width", [20, 34, 44, 52, 76, 140])
async def test_no_width_breaks_a_line(width):
    known = memory(summed=Summed(4, 4, 4, 148, 148, 1.0, 3.8), clearing=Clearing(2, 4, 0, 148, 0))
    app = Host(MemoryPane(), view(full(stop=stop(4)), full(memory=known)))
    async with app.run_test(size=(width, 16)):
        room = app.query_one(".memory--table", Static).size.width
        for line in table(app)[1:]:
            assert len(line) <= max(room, 31)


# ── bars ────────────────────────────────────────────────────────────────────────────────────────────────────


def eighths(bar) -> list[int]:
    """The categories of a bar from the bottom up, an eighth of a row each, as they are drawn."""
    found = []
    for cell in reversed(bar):
        filled = " ▁▂▃▄▅▆▇█".index(cell.glyph)
        found += [cell.lower] * filled + [cell.upper] * (8 - filled)
    return found


@pytest.mark.parametrize(
    ("values", "most", "height", "expected"),
    [
        ((0, 0), 10, 2, {NOTHING: 16}),
        ((10, 0), 10, 2, {0: 16}),
        ((5, 5), 10, 2, {0: 8, 1: 8}),
        ((3, 5), 16, 2, {0: 3, 1: 5, NOTHING: 8}),
        ((1, 0), 1_000_000, 3, {0: 1, NOTHING: 23}),
        ((None, 8), 16, 1, {1: 4, NOTHING: 4}),
        ((), 16, 1, {NOTHING: 8}),
    ],
)
def test_a_bar_is_as_high_as_its_bytes(values, most, height, expected):
    bar = column(values, most, height)
    drawn = eighths(bar)
    assert len(bar) == height
    assert {category: drawn.count(category) for category in set(drawn)} == expected
    # Stacked: each category in one piece, and nothing below what is drawn.
    assert [c for i, c in enumerate(drawn) if i == 0 or drawn[i - 1] != c] == list(expected)


def test_the_chart_marks_the_peak_and_what_ran():
    moments = [
        Moment(1, "zero_grad optimiser", (10, 0, 0, 0, 0)),
        Moment(1, "forward net", (10, 0, 0, 0, 30), "net.2"),
        Moment(1, "backward loss", (10, 10, 0, 0, 0)),
        Moment(2, "scheduler StepLR", ()),
        Moment(2, "forward net", (10, 0, 0, 0, None)),
    ]
    rows = chart(moments, 5, 2)
    assert rows[-1].plain == "z▲bh?"
    assert rows[0].plain[1] == "█"
    assert rows[0].plain[3] == rows[1].plain[3] == " "
    assert peak(moments) == 1
    assert {len(row.plain) for row in rows} == {5}
    assert [row.plain for row in chart(moments, 2, 1)][-1] == "h▲"  # the last two only: the peak of what is shown


def test_the_course_has_boundaries_that_were_passed_and_stops_that_were_not_counted():
    note = MemoryNote(1, "forward net", 296, 0, 0, 0, 1408, "net.2")
    history = (full(stop=stop(4), memory=None), full(memory=memory(passed=(note,))))
    moments = timeline(history)
    assert [(m.stop, m.ran, m.total) for m in moments] == [
        (4, "backward net", None),
        (None, "forward net", 1704),
        (5, "backward net", 1852),
    ]
    assert moments[1].module == "net.2"


@pytest.mark.parametrize(
    ("moments", "words"),
    [
        ([], ""),
        (
            [Moment(1, "forward net", (10, 0, 0, 0, 2038), "net.2")],
            "2.0 KiB in forward net, at net.2, iteration 1 (counted).",
        ),
        ([Moment(1, "forward net", (10, 0, 0, 0, None))], "at least 10 B after forward net, iteration 1 (counted)."),
        ([Moment(2, "loss function", (10, 0, 0, 0, 30))], "40 B in loss function, iteration 2 (counted)."),
        ([Moment(2, "step SGD", (10, 0, 9, 0, 1), "net.2")], "20 B after step SGD, iteration 2 (counted)."),
        ([Moment(2, "", (10, 0, 9, 0, 1))], "20 B, iteration 2 (counted)."),
        (
            [
                Moment(1, "loss mse", (10, 0, 0, 0, 30), "mse"),
                Moment(1, "backward loss", (10, 20, 0, 0, 15), "net.4", inside=True),
                Moment(1, "backward loss", (10, 25, 0, 0, 0)),
            ],
            "≈45 B in backward loss, at net.4, iteration 1 (estimated).",
        ),
        (
            [Moment(1, "backward loss", (10, 20, 0, 0, 15), inside=True, at_least=True)],
            "at least ≈45 B in backward loss, iteration 1 (estimated).",
        ),
    ],
)
def test_where_the_peak_was_reached_and_how_that_is_known(moments, words):
    assert peak_sentence(moments) == (f"▲ peak {words}" if words else "")


def test_the_peak_inside_a_phase_is_told_in_words():
    inside = MemoryNote(3, "backward loss", 10, 20, 0, 0, 15, "net.4", inside=True)
    assert "peak ≈45 B in backward loss, at net.4, iteration 3 (estimated)." in plain_lines(memory(passed=(inside,)))
    (moment, _) = timeline((full(memory=memory(passed=(inside,))),))
    assert (moment.inside, moment.total) == (True, 45)


def test_what_ran_at_the_end_of_an_iteration_is_of_it_though_the_stop_is_of_the_next():
    ran = replace(stop(6), iteration=2, just_ran=(PhaseRun(Phase.STEP, "optimiser", "SGD", seconds=0.1, iteration=1),))
    moments = timeline((full(stop=ran, memory=memory(6, graph=0)),))
    assert moments[0].iteration == 1
    assert peak_sentence(moments).endswith("after step optimiser, iteration 1 (counted).")


def test_the_peak_of_the_process_is_not_below_what_it_holds():
    record = memory(process_peak=100)
    assert [process_peak(record, rss) for rss in (None, 90, 104)] == [100, 100, 104]
    assert process_peak(memory(process_peak=None), 90) is None
    assert "process, at its peak    104 B" in plain_lines(record, rss=104)


# ── words ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"gradient_count": 0}, "gradients: none (.grad is None everywhere)."),
        ({"backwards": 0}, "gradients of 4 parameters: cleared, no backward pass since."),
        ({"backwards": 0, "in_backward": True}, "gradients of 4 parameters: of the backward pass that runs."),
        ({"backwards": 1}, "gradients of 4 parameters: of 1 backward pass."),
        ({"backwards": 1, "in_backward": True}, "gradients of 4 parameters: of 1 backward pass. One more runs."),
        ({"backwards": 3}, "gradients of 4 parameters: 3 backward passes are summed in place."),
        ({"summed": Summed(1, 4, 1, 148, 148, 1.0, 1.0)}, "gradients of 4 parameters: of 1 backward pass."),
        (
            {"summed": Summed(4, 4, 4, 148, 148, 1.0, 3.8)},
            "gradients of 4 backward passes are summed in place: memory constant, |g| grew ×3.8.",
        ),
        (
            {"summed": Summed(4, 4, 4, 148, 148, 2.0, 1.0)},
            "gradients of 4 backward passes are summed in place: memory constant, |g| shrank ×0.5.",
        ),
        (
            {"summed": Summed(2, 4, 1, 148, 148)},
            "gradients of 1 to 2 backward passes are summed in place: memory constant.",
        ),
        (
            {"summed": Summed(2, 4, 2, 48, 1148)},
            "gradients of 2 backward passes are summed in place: 48 B have become 1,148 B.",
        ),
        (
            {"summed": Summed(2, 4, 2, 148, 148, 0.0, 1.0)},
            "gradients of 2 backward passes are summed in place: memory constant.",
        ),
    ],
)
def test_what_gradients_are_the_sum_of(changes, words):
    assert statement(memory(**changes)) == words


@pytest.mark.parametrize(
    ("clearing", "words"),
    [
        (
            Clearing(2, 4, 0, 1480, 0),
            "zero_grad set 4 .grad to None in iteration 2: 1,480 B given back, allocated anew by the next backward.",
        ),
        (
            Clearing(3, 0, 4, 0, 148),
            """zero_grad filled 4 .grad with zeros in iteration 3: 148 B stay allocated and were written once; \
None would give them back.""",
        ),
        (Clearing(1, 0, 0, 0, 0), "zero_grad found no gradient to clear in iteration 1."),
    ],
)
def test_how_gradients_were_cleared(clearing, words):
    assert cleared(clearing) == words
    assert cleared(replace(clearing, by_hand=True)).startswith("the script itself ")


def test_plain_lines_have_every_category_and_every_number_to_the_byte():
    record = memory(
        modules=(SavedBy("net.0", "Linear", 512, 1), SavedBy("", "", 896, 2)),
        devices=(DeviceBytes("cuda:0", 1, 2, 3, 4),),
        process_peak=1 << 30,
        own=7,
        own_copies=5,
        note="the loss is not reachable",
    )
    others = OtherMemory(5, 4096, 1, (), 0, 0, 7, 99)
    text = plain_lines(record, rss=1 << 20, others=others)
    for category in Category:
        assert sum(line.startswith(category.value) for line in text) >= 1
    assert "held for training       1,852 B" in text
    assert "other tensors           4,096 B in 1 storage" in text
    assert "process (RSS)           1,048,576 B" in text
    assert "cuda:0 allocated        1 B, peak 3 B" in text
    assert "the debugger's own      about 106 B" in text
    assert "  of it earlier values  5 B, at most 268,435,456 B (--previous-values)" in text
    assert "the loss is not reachable." in text
    assert text[-2:] == ["  (no module)           896 B", "  net.0                 512 B  Linear"]
    assert all(len(line) <= 60 for line in plain_lines(record, 60)[14:])


def test_plain_lines_of_an_unknown_graph():
    text = plain_lines(memory(graph=None))
    assert "saved for backward      unknown" in text
    assert "held for training       at least 444 B" in text
    assert "process (RSS)           unknown" in text


def test_earlier_stops_keep_what_was_counted():
    assert timeline((Recorded(stop(1)),))[0].total is None
