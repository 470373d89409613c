"""The commands about leaks and estimates, and their answers as lines."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stepdbg.commands import parse
from stepdbg.commands.memory import read_what_if
from stepdbg.errors import UsageError
from stepdbg.plain import leaks, whatif
from stepdbg.protocol.leaks import Leak, LeakKind, LeakReport
from stepdbg.protocol.whatif import Estimate, EstimateRow, GetWhatIf, WhatIfKind

LEAK = Leak(
    LeakKind.GRAPH, "total_loss", "one number", "/home/me/train.py", 31, "total_loss += loss",
    first=1, last=12, iterations=12, nodes=54, nbytes=4, saved=1536, growing=True,
)  # fmt: skip
REPORT = LeakReport(30, 13, (LEAK,), since=6, samples=7, tensors=25, counts=((12, 24), (13, 25)))


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("zero_grad", GetWhatIf(0, WhatIfKind.ZERO_GRAD)),
        ("optimizer AdamW", GetWhatIf(0, WhatIfKind.OPTIMIZER, "adamw")),
        (
            "optimizer rmsprop centered momentum",
            GetWhatIf(0, WhatIfKind.OPTIMIZER, "rmsprop", ("centered", "momentum")),
        ),
        ("batch 2x", GetWhatIf(0, WhatIfKind.BATCH, factor=2.0)),
        ("batch x0.5", GetWhatIf(0, WhatIfKind.BATCH, factor=0.5)),
        ("batch 64", GetWhatIf(0, WhatIfKind.BATCH, size=64)),
        ("checkpoint net.h[0]", GetWhatIf(0, WhatIfKind.CHECKPOINT, "net.h[0]")),
    ],
)
def test_what_if_is_read(text: str, query: GetWhatIf) -> None:
    assert read_what_if(text) == query


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("what-if", "what-if needs one argument: what-if ESTIMATE"),
        ("what-if zerograd", "did you mean zero_grad?"),
        ("what-if sleep", "one of zero_grad, optimizer, batch, checkpoint"),
        ("what-if zero_grad now", "takes nothing else, so not 'now'"),
        ("what-if optimizer", "needs one of adam, adamw, sgd, rmsprop, adagrad"),
        ("what-if optimizer lion", "'lion' is not estimated: one of adam, adamw, sgd, rmsprop, adagrad"),
        ("what-if optimizer sgd amsgrad", "'amsgrad' does not change what it holds: momentum changes it"),
        ("what-if optimizer adagrad x", "'x' does not change what it holds: nothing does"),
        ("what-if batch", "what-if batch needs one thing: what-if batch 2x, what-if batch 64"),
        ("what-if batch 0x", "'0x' is no size: 2x is twice the present batch, 64 a batch of 64"),
        ("what-if batch twice", "'twice' is no size"),
        ("what-if checkpoint", "needs one thing: what-if checkpoint net.h"),
        ("leaks whatever", "did you mean watch?"),
        ("leaks x", "one of watch, unwatch, off"),
    ],
)
def test_what_cannot_be_read_is_said_in_one_line(line: str, message: str) -> None:
    with pytest.raises(UsageError) as raised:
        parse(line)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_finding_says_who_where_how_much_and_what_to_do() -> None:
    assert leaks.lines(REPORT) == [
        "1 finding: growing in each of the last 3 iterations.",
        "",
        "● total_loss keeps the graphs of 12 iterations (1 to 12) alive",
        "    train.py:31  total_loss += loss",
        "    one number, 4 B of tensors, 1.5 KiB saved for backward, 54 graph nodes",
        "    fix: add the number without its graph: .item(), or .detach()",
        "",
        "Watched since iteration 6; tensors alive at the start of the last iterations: 24, 25; now 25.",
    ]


def test_what_does_not_grow_is_no_finding_and_unknown_is_said() -> None:
    held = replace(
        LEAK, kind=LeakKind.LIST, name="recent", where="deque of 4", line=None, count=4, saved=None,
        growing=False, note="it holds 4 at most", iterations=4, first=9,
    )  # fmt: skip
    text = leaks.lines(replace(REPORT, leaks=(held,), samples=2, free=True))
    assert text[0] == "No finding: what is kept from earlier iterations did not grow steadily."
    assert text[2] == "○ recent keeps 4 tensors with their graphs, of 4 iterations (9 to 12)"
    assert "    line unknown: nothing in the source that was found binds this name or adds to it" in text
    assert "    deque of 4, 4 B of tensors, an unknown size saved for backward, 54 graph nodes" in text
    assert "    no finding: it holds 4 at most" in text
    assert text[-2:] == [
        "Watched since iteration 6: what grows without a graph, or is retained, is told after 2 more",
        "iterations. A free run is watched too.",
    ]


@pytest.mark.parametrize("width", [40, 72, 100])
def test_no_line_of_leaks_is_too_wide(width: int) -> None:
    long = replace(LEAK, text="total_loss = total_loss + weight * loss " * 5, name="a.b" * 10)
    assert max(map(len, leaks.lines(replace(REPORT, leaks=(long,)), width))) <= width


def test_the_other_kinds() -> None:
    tensors = replace(LEAK, kind=LeakKind.TENSORS, name="cache", where="dict of 8", count=8, saved=None, nodes=0)
    assert leaks.title(tensors) == "cache grows by tensors without a graph: 8 now"
    assert leaks.amounts(tensors) == "dict of 8, 4 B of tensors, of iterations 1 to 12"
    kept = replace(LEAK, kind=LeakKind.RETAINED, name="loss", where="kept whole by backward", nbytes=0)
    assert leaks.title(kept) == "the backward of loss leaves its graph whole, and nothing frees it"
    assert leaks.lines(replace(REPORT, leaks=(), since=0))[0] == "Nothing is kept from earlier iterations."


def test_an_estimate_is_called_one() -> None:
    rows = (EstimateRow("state in all", 2584, "for 4 parameters"), EstimateRow("difference", -1284, "less"))
    estimate = Estimate(
        3, WhatIfKind.OPTIMIZER, "SGD instead of Adam", rows, "estimated: less", "From shapes.", "And a note."
    )
    assert whatif.lines(estimate) == [
        "what if: SGD instead of Adam (an estimate)",
        "  state in all                      2.5 KiB  for 4 parameters",
        "  difference                       −1.3 KiB  less",
        "estimated: less",
        "From shapes.",
        "And a note.",
    ]
    assert whatif.number(EstimateRow("x", None)) == "unknown"
