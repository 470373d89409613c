"""The codec, the table of states, and every message pushed through two peers."""

from __future__ import annotations

import dataclasses
import json
import typing
from enum import Enum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepdbg.errors import LocalProtocolError, RemoteProtocolError
from stepdbg.protocol import codec
from stepdbg.protocol import messages as m
from stepdbg.protocol.breakpoints import Evaluating
from stepdbg.protocol.connection import Connection
from stepdbg.protocol.graph import GraphEdges, GraphPage, Lens
from stepdbg.protocol.records import StopReason, StopRecord
from stepdbg.protocol.states import Role, SessionState, State

ALL = (*m.TO_CLIENT, *m.TO_AGENT)
PATHS = {
    State.STARTING: [],
    State.RUNNING: ["hello"],
    State.STOPPED: ["hello", "stopped"],
    State.RESUMING: ["hello", "stopped", "resume"],
}
STOP = StopRecord(1, StopReason.ENTRY, 1, 1, (), None, (), (), None, (), None, "MainThread", 0.5, None)
STEPS = {
    "hello": (Role.AGENT, m.Hello(1, 42, "/python", "3.11", "2.13", ("a.py",))),
    "stopped": (Role.AGENT, m.Stopped(STOP)),
    "resume": (Role.CLIENT, m.Resume(m.Action.NEXT)),
}

# Reply carries any plain dictionary; numbers and text in it are enough here.
st.register_type_strategy(
    m.Reply, st.builds(m.Reply, id=st.integers(), body=st.dictionaries(st.text(), st.integers() | st.text()))
)


def example(kind: type) -> object:
    """Some message of that class."""
    simple = {str: "x", int: 1, float: 0.5, bool: True}
    if kind is m.Stopped:
        return m.Stopped(STOP)
    values = {}
    hints = typing.get_type_hints(kind)
    for field in dataclasses.fields(kind):
        hint = hints[field.name]
        if field.default is not dataclasses.MISSING:
            values[field.name] = field.default
        elif hint in simple:
            values[field.name] = simple[hint]
        elif isinstance(hint, type) and issubclass(hint, Enum):
            values[field.name] = next(iter(hint))
        elif dataclasses.is_dataclass(hint):
            values[field.name] = example(hint)
        elif typing.get_origin(hint) is tuple:
            values[field.name] = ()
        elif typing.get_origin(hint) is dict:
            values[field.name] = {}
        else:
            values[field.name] = None
    return kind(**values)


def peers(state: State) -> dict[Role, Connection]:
    """Two connections that have talked themselves into `state`."""
    sides = {role: Connection(role) for role in Role}
    for step in PATHS[state]:
        role, message = STEPS[step]
        other = Role.CLIENT if role is Role.AGENT else Role.AGENT
        assert sides[other].receive(sides[role].send(message)) == [message]
    return sides


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
@given(data=st.data())
def test_what_is_encoded_is_decoded_again(kind: type, data: st.DataObject) -> None:
    message = data.draw(st.from_type(kind))
    again = codec.decode(codec.encode(message))
    # NaN is not equal to itself: compare what is written.
    assert repr(again) == repr(message)


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_a_missing_a_surplus_and_a_wrong_field_are_named(kind: type) -> None:
    plain = json.loads(codec.encode(example(kind)))
    with pytest.raises(RemoteProtocolError, match="'surplus' is not a field"):
        codec.decode(json.dumps({**plain, "surplus": 1}).encode())
    for field in dataclasses.fields(kind):
        if field.default is dataclasses.MISSING:
            without = {key: value for key, value in plain.items() if key != field.name}
            with pytest.raises(RemoteProtocolError, match="is missing"):
                codec.decode(json.dumps(without).encode())
            wrong = json.dumps({**plain, field.name: [[{}]]}).encode()
            with pytest.raises(RemoteProtocolError, match=field.name):
                codec.decode(wrong)


@given(st.binary(max_size=200))
def test_bytes_that_are_no_message_are_refused(raw: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        codec.decode(raw)


@pytest.mark.parametrize("state", PATHS, ids=lambda state: state.value)
@pytest.mark.parametrize("role", Role, ids=lambda role: role.value)
@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_every_message_through_two_peers(kind: type, role: Role, state: State) -> None:
    """A legal message arrives and both sides agree where they stand; an illegal one changes nothing."""
    sides = peers(state)
    sender, receiver = sides[role], sides[Role.CLIENT if role is Role.AGENT else Role.AGENT]
    message = example(kind)
    try:
        frame = sender.send(message)
    except LocalProtocolError:
        assert sender.state is receiver.state is state
        other = SessionState(Role.CLIENT if role is Role.AGENT else Role.AGENT)
        other.state = state
        with pytest.raises(RemoteProtocolError):
            other.received(message)
        assert other.state is state
    else:
        # One byte at a time: a frame may arrive in any pieces.
        arrived = [got for i in range(len(frame)) for got in receiver.receive(frame[i : i + 1])]
        assert arrived == [message]
        assert sender.state is receiver.state


def test_who_may_tell_of_work_and_cancel_it_when() -> None:
    """Of queries only at a stop; what was on its way when the screen let the script go on still arrives. While the
    script runs, what is evaluated there is told of and cancelled.
    """
    legal = {
        (Role.AGENT, m.Working): {State.STOPPED, State.RESUMING},
        (Role.AGENT, Evaluating): {State.RUNNING},
        (Role.CLIENT, m.Cancel): {State.STOPPED, State.RUNNING},
    }
    for role in Role:
        for kind in (m.Working, Evaluating, m.Cancel):
            for state in PATHS:
                sides = peers(state)
                if state in legal.get((role, kind), ()):
                    sides[role].send(example(kind))
                    assert sides[role].state is state
                else:
                    with pytest.raises(LocalProtocolError):
                        sides[role].send(example(kind))


@pytest.mark.parametrize(
    ("levels", "problem"),
    [
        ([[1, 2], [3]], r"lens.levels.1: expected 2 elements, got 1"),
        ([[1, 2, 3]], r"lens.levels.0: expected 2 elements, got 3"),
        ([[]], r"lens.levels.0: expected 2 elements, got 0"),
        ([[1, "2"]], r"lens.levels.0.1: expected int, got str"),
        ([[True, 2]], r"lens.levels.0.0: expected int, got bool"),
        ([12], r"lens.levels.0: expected a list, got int"),
        ([{"0": 1, "1": 2}], r"lens.levels.0: expected a list, got dict"),
        (None, r"lens.levels: expected a list, got NoneType"),
    ],
)
def test_a_tuple_of_fixed_length_is_exactly_so_long(levels: object, problem: str) -> None:
    plain = json.loads(codec.encode(m.GetGraph(1, lens=Lens(levels=((1, 2), (7, 0))))))
    assert codec.decode(json.dumps(plain).encode()).lens.levels == ((1, 2), (7, 0))
    plain["lens"]["levels"] = levels
    with pytest.raises(RemoteProtocolError, match=problem):
        codec.decode(json.dumps(plain).encode())


@given(st.from_type(GraphPage) | st.from_type(GraphEdges))
def test_pages_of_a_graph_come_back_as_they_were(page: GraphPage | GraphEdges) -> None:
    plain = json.loads(json.dumps(codec.to_plain(page)))
    assert repr(codec.from_plain(type(page), plain)) == repr(page)


def test_the_elements_of_a_fixed_tuple_have_a_type_each() -> None:
    plain = codec.to_plain(GraphPage(1, 0, 0, (), "loss", "", 1, False, 3, 2, (), marks=(("shared", 2),)))
    plain["marks"] = [[2, "shared"]]
    with pytest.raises(RemoteProtocolError, match=r"marks.0.0: expected str, got int"):
        codec.from_plain(GraphPage, plain)


def test_nothing_may_be_said_once_closed() -> None:
    side = Connection(Role.CLIENT)
    side.close()
    for kind in m.TO_AGENT:
        with pytest.raises(LocalProtocolError):
            side.send(example(kind))
    assert side.state is State.CLOSED
