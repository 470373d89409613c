"""The reducer: events and answers in, the next view out."""

from __future__ import annotations

from dataclasses import replace

from fake_records import answer, stop

from stepdbg.client import store
from stepdbg.client.session import ConnectionLost, Exited, SessionInfo
from stepdbg.client.store import Status, View
from stepdbg.protocol import messages as m
from stepdbg.ui.header import facts


def stopped(count: int) -> View:
    view = View(SessionInfo("a.py", (), "/python"))
    for number in range(1, count + 1):
        view = store.apply_event(view, m.Stopped(stop(number)))
    return view


def test_pages_of_one_pattern_add_up_and_another_pattern_starts_anew() -> None:
    view = stopped(5)
    for query in (m.GetParameters(1, 0, 2), m.GetParameters(2, 2, 2)):
        view = store.apply_answer(view, 5, query, answer(query, 5))
    listing = view.history[-1].parameters
    assert listing is not None
    assert sorted(listing.rows) == [0, 1, 2, 3]
    query = m.GetParameters(3, 0, 2, "net2")
    listing = store.apply_answer(view, 5, query, answer(query, 5)).history[-1].parameters
    assert listing is not None
    assert [row.name for row in listing.rows.values()] == ["net2.0.weight", "net2.0.bias"]


def test_a_loss_is_the_last_one_only_where_no_iteration_has_gone_by_since() -> None:
    held = stop(16)
    assert (held.iteration, held.loss and held.loss.iteration) == (4, 3)
    told = []
    for iteration in (4, 3, 2):
        assert held.loss is not None
        one = replace(held, loss=replace(held.loss, iteration=iteration, previous=None))
        view = store.apply_event(View(SessionInfo("a.py", (), "/python")), m.Stopped(one))
        told.append(facts(view, brief=False)[1])
    assert told == ["loss 0.6539", "last loss 0.6539", "loss 0.6539 of iteration 2"]


def test_an_answer_to_a_forgotten_stop_changes_nothing() -> None:
    view = stopped(2)
    query = m.GetMemory(1)
    assert store.apply_answer(view, 99, query, answer(query, 2)) == view


def test_a_failure_is_kept_until_the_answer_comes() -> None:
    query = m.GetMemory(1)
    view = store.apply_failure(stopped(1), 1, query, "no")
    assert view.history[0].failed == {"GetMemory": "no"}
    assert not store.apply_answer(view, 1, query, answer(query, 1)).history[0].failed


def test_work_is_shown_until_it_is_answered_or_fails() -> None:
    graph, memory = m.GetGraph(0), m.GetMemory(0)
    view = stopped(2)
    for done in (1000, 2000):
        view = store.apply_working(view, 2, graph, m.Working(1, done, 0, "nodes"))
    assert view.history[-1].working == {"GetGraph": m.Working(1, 2000, 0, "nodes")}
    assert not view.history[0].working
    still = store.apply_answer(view, 2, memory, answer(memory, 2))
    assert still.history[-1].working
    assert not store.apply_answer(still, 2, graph, answer(graph, 2)).history[-1].working
    failed = store.apply_failure(still, 2, graph, "cancelled after 2,000 nodes").history[-1]
    assert (failed.failed, failed.working) == ({"GetGraph": "cancelled after 2,000 nodes"}, {})
    assert not store.apply_working(view, 2, graph, None).history[-1].working


def test_work_begun_again_takes_its_failure_back() -> None:
    graph, memory = m.GetGraph(0), m.GetMemory(0)
    view = store.apply_failure(stopped(1), 1, graph, "cancelled after 2,000 nodes")
    view = store.apply_failure(view, 1, memory, "no")
    view = store.apply_working(view, 1, graph, m.Working(2, 1000, 0, "nodes"))
    assert view.history[0].failed == {"GetMemory": "no"}


def test_nobody_works_once_the_script_has_gone_on() -> None:
    view = store.apply_working(stopped(1), 1, m.GetGraph(0), m.Working(1, 1000, 0, "nodes"))
    for event in (m.Continued(m.Action.NEXT), Exited(1), ConnectionLost("")):
        assert not store.apply_event(view, event).history[0].working


def test_a_source_that_comes_takes_its_failure_back() -> None:
    query = m.GetSource(0, "a.py")
    view = store.apply_answer(store.apply_failure(stopped(1), 1, query, "no"), 1, query, answer(query, 1))
    assert not view.history[0].failed
    assert "a.py" in view.sources


def test_looking_back_ends_at_both_ends_and_with_the_next_stop() -> None:
    view = store.look(stopped(3), -9)
    assert (view.ago, view.live) == (2, False)
    assert store.look(view, 9).live
    assert store.apply_event(view, m.Stopped(stop(4))).ago == 0


def test_history_is_bounded() -> None:
    view = stopped(store.HISTORY + 3)
    assert len(view.history) == store.HISTORY
    assert view.history[0].stop.number == 4


def test_a_connection_lost_after_the_end_leaves_it_ended() -> None:
    view = store.apply_event(stopped(1), Exited(3))
    assert store.apply_event(view, ConnectionLost("")).status is Status.ENDED


def test_what_is_read_after_the_end_brings_nothing_back_to_life() -> None:
    ended = store.apply_event(stopped(1), Exited(0))
    for late in (m.Continued(m.Action.NEXT), m.Stopped(stop(2)), m.Progress(3, 1, "step", None, None)):
        assert store.apply_event(ended, late) == ended
