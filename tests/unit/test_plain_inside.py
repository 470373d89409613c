"""Places inside phases as plain text."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stepdbg.plain import inside
from stepdbg.protocol.inside import Grain, HeldTensor, HeldTensors, Place
from stepdbg.protocol.records import Phase, PhaseRun, StopReason, StopRecord

STOP = StopRecord(
    3, StopReason.STEP, 1, 1, (), None, (PhaseRun(Phase.FORWARD, "net", "Net"),), (), None, (), None, "MainThread", 0.1,
    None,
)  # fmt: skip


@pytest.mark.parametrize(
    ("place", "text"),
    [
        (Place(Grain.MODULE, "before", "net.2", "Linear"), "before net.2 Linear"),
        (Place(Grain.MODULE, "after", "Linear", "Linear"), "after Linear"),
        (Place(Grain.OP, "before", "aten.addmm.default"), "before addmm"),
        (Place(Grain.OP, "before", "aten.add.Tensor"), "before add.Tensor"),
        (Place(Grain.OP, "after", "aten.add.Tensor", "net.1", depth=2), "after add.Tensor of net.1"),
        (Place(Grain.NODE, "after", "AddmmBackward0", "net.2", seq=7), "after AddmmBackward0 of net.2"),
        (Place(Grain.NODE, "before", "MulBackward0", seq=7), "before MulBackward0"),
        (Place(Grain.NODE, "before", "AccumulateGrad", parameter="w"), "before AccumulateGrad of w"),
        (Place(Grain.PARAMETER, "after", "net.0.bias", parameter="net.0.bias"), "after net.0.bias"),
        (
            Place(Grain.PARAMETER, "after", "net.0.bias", "group 1", parameter="net.0.bias"),
            "after net.0.bias of group 1",
        ),
    ],
)
def test_a_place_in_words(place: Place, text: str) -> None:
    assert inside.place(place) == text


def test_the_lines_of_a_stop() -> None:
    assert inside.lines(STOP) == []
    place = Place(Grain.MODULE, "before", "net.2", "Linear", detail="compiled: runs as one")
    stop = replace(STOP, at=place)
    assert inside.lines(stop) == ["inside forward net: before net.2 Linear", "  compiled: runs as one"]
    assert [len(line) for line in inside.lines(stop, 10)] == [10, 10]


def test_held_tensors_stand_in_columns() -> None:
    tensors = (
        HeldTensor("output", (32, 6), "float32", "cpu"),
        HeldTensor("input[0]", (), "float32", "cpu", "a remark"),
        HeldTensor("self.grad", None, "", "", "no gradient yet"),
    )
    assert inside.held(HeldTensors(3, tensors)) == [
        "@output     32×6    float32",
        "@input[0]   scalar  float32  a remark",
        "@self.grad  none             no gradient yet",
    ]
    assert inside.held(HeldTensors(3, (), "nothing here")) == ["nothing here"]
    assert inside.held(HeldTensors(3, ())) == []
