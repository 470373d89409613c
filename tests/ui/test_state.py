"""What is shown when: a step that is over in a moment is shown once, with its answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fake_records import answer, stop

from stepdbg.client import store
from stepdbg.client.session import Exited, SessionInfo
from stepdbg.client.store import Status, View
from stepdbg.protocol import messages as m
from stepdbg.ui.state import State


class FakeTimer:
    """A timer that fires when a test says so."""

    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback, self.stopped = callback, False

    def stop(self) -> None:
        self.stopped = True


class FakeApp:
    """Keeps every view that was shown."""

    def __init__(self) -> None:
        self.shown: list[View] = [View(SessionInfo("a.py", (), "/python"))]
        self.timers: list[FakeTimer] = []

    @property
    def view(self) -> View:
        return self.shown[-1]

    @view.setter
    def view(self, view: View) -> None:
        self.shown.append(view)

    def set_timer(self, _delay: float, callback: Callable[[], None]) -> Any:
        self.timers.append(FakeTimer(callback))
        return self.timers[-1]

    def time_passes(self) -> None:
        for timer in [timer for timer in self.timers if not timer.stopped]:
            timer.callback()


def held_at(number: int) -> tuple[FakeApp, State]:
    app = FakeApp()
    state = State(app)
    state.event(m.Stopped(stop(number)))
    state.settle()
    app.shown = app.shown[-1:]
    return app, state


def test_a_short_step_is_shown_once_with_its_answers() -> None:
    app, state = held_at(1)
    query = m.GetMemory(1)
    state.event(m.Continued(m.Action.NEXT))
    state.event(m.Stopped(stop(2)))
    state.change(lambda view: store.apply_answer(view, 2, query, answer(query, 2)))
    assert len(app.shown) == 1
    state.settle()
    assert [view.status for view in app.shown] == [Status.STOPPED, Status.STOPPED]
    assert app.view.history[-1].memory is not None
    app.time_passes()
    assert len(app.shown) == 2


def test_a_long_step_is_shown_to_run() -> None:
    app, state = held_at(1)
    state.event(m.Continued(m.Action.NEXT))
    assert app.view.status is Status.STOPPED
    app.time_passes()
    assert app.view.status is Status.RUNNING
    state.event(m.Stopped(stop(2)))
    app.time_passes()
    assert app.view.status is Status.STOPPED


def test_late_answers_of_the_stop_before_do_not_tell_that_it_runs() -> None:
    app, state = held_at(1)
    state.event(m.Continued(m.Action.NEXT))
    state.settle()
    assert len(app.shown) == 1


def test_a_stop_does_not_wait_for_slow_answers() -> None:
    app, state = held_at(1)
    state.event(m.Stopped(stop(2)))
    app.time_passes()
    assert app.view.history[-1].stop.number == 2


def test_the_end_is_shown_at_once_and_stays() -> None:
    app, state = held_at(1)
    state.event(m.Continued(m.Action.CONTINUE))
    state.event(Exited(0))
    assert app.view.status is Status.ENDED
    state.event(m.Stopped(stop(2)))
    state.settle()
    assert app.view.status is Status.ENDED


def test_another_run_forgets_what_was_not_shown() -> None:
    app, state = held_at(3)
    state.event(m.Continued(m.Action.NEXT))
    fresh = View(SessionInfo("a.py", (), "/python"))
    state.clear(fresh)
    app.time_passes()
    assert app.view is fresh
