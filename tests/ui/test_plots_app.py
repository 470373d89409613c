"""The screens of plots and of chains: first against the scripted agent, then on a real run."""

from __future__ import annotations

import math

import pytest
import real_runs
import torch
from fake_session import Script
from test_contrast import LEAST, contrast, drawn, hard_to_read
from test_shell import NARROW, Driver, running

from stepdbg.client.series import METRICS
from stepdbg.client.store import Status
from stepdbg.protocol import messages as m
from stepdbg.protocol.chain import Way
from stepdbg.protocol.records import Phase
from stepdbg.ui import UiConfig
from stepdbg.ui.plots.screen import PlotScreen
from stepdbg.ui.plots.view import PlotView
from stepdbg.ui.screens.chain import ChainScreen

LARGE = (160, 50)


def screen_text(driver: Driver | real_runs.Driver) -> str:
    return "\n".join(strip.text.rstrip() for strip in driver.app.screen._compositor.render_strips())


def plot_screen(driver: Driver | real_runs.Driver) -> PlotScreen:
    screen = driver.app.screen
    assert isinstance(screen, PlotScreen)
    return screen


def shown(driver: Driver | real_runs.Driver) -> list[str]:
    return [view.metric for view in plot_screen(driver).query(PlotView) if view.region.area]


def asked(driver: Driver, kind: type) -> list[object]:
    return [message for message in driver.session.agent.received if isinstance(message, kind)]


# ── plots ───────────────────────────────────────────────────────────────────────────────────────────────────


async def test_nothing_is_measured_before_the_plots_are_opened_and_each_step_after() -> None:
    async with running(size=LARGE, stop=3) as driver:
        assert not asked(driver, m.GetTrends)
        await driver.press("T")
        await driver.session.agent.told(m.GetTrends)
        await driver.press("escape")
        await driver.until(lambda: not isinstance(driver.app.screen, PlotScreen), "it is closed")
        for number in range(4, 8):
            await driver.press("n")
            await driver.stopped_at(number)
        await driver.until(lambda: driver.app.plots.plots.now.next_step == 1, "the first step is known")
        await driver.press("n")
        await driver.session.agent.told(m.GetTrends, 6)
        since = [query.since for query in asked(driver, m.GetTrends)]  # type: ignore[attr-defined]
        assert (since[:4], since[5]) == ([0, 0, 0, 0], 1)


async def test_four_plots_where_there_is_room_and_keys_of_the_run_work() -> None:
    async with running(size=LARGE) as driver:
        await driver.press("T")
        await driver.until(lambda: isinstance(driver.app.screen, PlotScreen), "it is open")
        await driver.pilot.pause()
        assert shown(driver) == list(METRICS)
        text = screen_text(driver)
        assert "no loss yet" in text
        assert "no optimizer step has run" in text
        await driver.press("i")
        await driver.stopped_at(6)
        await driver.press("i")
        await driver.stopped_at(11)
        await driver.until(lambda: driver.app.plots.plots.now.next_step == 2, "two steps are known")
        await driver.pilot.pause()
        text = screen_text(driver)
        for words in (
            "run 1 · iterations 1–3",
            "iteration 2  ● loss 0.6729",
            "● optimiser 0.1 ",
            "iteration 2  ● optimiser 0.005",
            "recorded since iteration 1, when you opened this",
            "● stopped",
        ):
            assert words in text


async def test_one_at_a_time_on_a_small_screen_and_tab_through() -> None:
    async with running(size=NARROW) as driver:
        await driver.press("T")
        await driver.until(lambda: isinstance(driver.app.screen, PlotScreen), "it is open")
        await driver.press("c")
        await driver.stopped_at(13)
        for metric in (*METRICS, METRICS[0]):
            await driver.pilot.pause()
            assert shown(driver) == [metric]
            assert f"plot {METRICS.index(metric) + 1} of 4" in screen_text(driver)
            await driver.press("tab")
        await driver.press("shift+tab", "shift+tab")
        await driver.pilot.pause()
        assert shown(driver) == ["ratio"]


async def test_the_prompt_opens_one_plot_and_enter_gives_all() -> None:
    async with running(size=LARGE, stop=6) as driver:
        await driver.press("colon", *"plot lr", "enter")
        await driver.until(lambda: isinstance(driver.app.screen, PlotScreen), "it is open")
        await driver.pilot.pause()
        assert shown(driver) == ["lr"]
        await driver.press("enter")
        await driver.pilot.pause()
        assert shown(driver) == list(METRICS)
        await driver.press("escape")
        await driver.press("T")
        await driver.until(lambda: isinstance(driver.app.screen, PlotScreen), "it is open again")
        assert plot_screen(driver).look.metric == "lr"
        driver.app.plots.show_plots("all")
        assert not plot_screen(driver).look.alone


async def test_cursor_zoom_pan_and_scale() -> None:
    async with running(size=LARGE) as driver:
        await driver.press("T")
        for number in range(2, 14):
            await driver.press("n")
            await driver.stopped_at(number)
        screen = plot_screen(driver)
        await driver.press("left")
        assert screen.look.cursor == 1
        await driver.pilot.pause()
        assert "iteration 1  ● loss 0.6931" in screen_text(driver)
        await driver.press("end")
        assert screen.look.cursor is None
        await driver.press("home", "l")
        assert (screen.look.cursor, screen.look.log) == (1, True)
        await driver.pilot.pause()
        assert "loss · logarithmic" in screen_text(driver)
        await driver.press("plus", "less_than_sign", "minus", "equals_sign")
        assert screen.look.span is None


async def test_a_restart_lays_the_runs_over_each_other() -> None:
    async with running(size=LARGE, stop=1) as driver:
        await driver.press("T")
        await driver.press("i")
        await driver.stopped_at(6)
        await driver.press("i")
        await driver.stopped_at(11)
        await driver.until(lambda: driver.app.plots.plots.now.next_step == 2, "two steps are known")
        await driver.press("r")
        await driver.until(lambda: driver.session.successor is not None, "it is restarted")
        await driver.stopped_at(1)
        await driver.press("i")
        await driver.stopped_at(6)
        await driver.until(lambda: driver.app.plots.plots.now.next_step == 1, "a step is known")
        await driver.pilot.pause()
        text = screen_text(driver)
        for words in ("runs 1, 2", "▲ run 2 (now)", "● run 1", "▲ run 2 (now) optimiser"):
            assert words in text
        # The cursor stands at the newest point of the present run.
        assert "iteration 1  ▲ run 2 loss 0.6931 ● run 1 loss 0.6931" in text
        await driver.press("right")
        await driver.pilot.pause()
        assert "iteration 2  ▲ run 2 loss not recorded ● run 1 loss 0.6729" in screen_text(driver)
        roles = {
            view._role(n, list(view._plots.curves("loss")))
            for view in driver.app.screen.query(PlotView)
            for n in (0, 1)
        }
        assert roles == {"line-0", "line-1"}


async def test_an_answer_of_the_run_before_is_not_the_present_ones() -> None:
    async with running(size=LARGE, stop=7) as driver:
        driver.session.agent.slow = (m.GetTrends,)
        await driver.press("T")
        await driver.session.agent.told(m.GetTrends)
        before = driver.app.plots._generation
        driver.app.plots.restarted()
        driver.session.agent.release()
        await driver.until(
            lambda: not any(w.group == "trends" and w.is_running for w in driver.app.workers), "answered"
        )
        assert driver.app.plots._generation == before + 1
        assert driver.app.plots.plots.now.next_step == 0


@pytest.mark.parametrize("theme", ["stepdbg-dark", "stepdbg-light"])
async def test_every_letter_has_contrast(theme: str) -> None:
    async with running(size=LARGE, config=UiConfig(theme=theme)) as driver:
        await driver.press("T")
        await driver.press("c")
        await driver.stopped_at(13)
        await driver.press("r")
        await driver.until(lambda: driver.session.successor is not None, "it is restarted")
        await driver.stopped_at(1)
        await driver.press("i")
        await driver.stopped_at(6)
        await driver.pilot.pause()
        assert hard_to_read(driver.app) == []
        await driver.press("escape", "E")
        await driver.until(lambda: "AccumulateGrad" in screen_text(driver), "the chain is here")
        letters = [s for s in drawn(driver.app) if any(letter.isalnum() for letter in s.text)]
        assert min(map(contrast, letters)) >= LEAST


# ── chains ──────────────────────────────────────────────────────────────────────────────────────────────────


async def chain_open(driver: Driver | real_runs.Driver) -> ChainScreen:
    await driver.until(lambda: isinstance(driver.app.screen, ChainScreen), "the screen is open")
    screen = driver.app.screen
    assert isinstance(screen, ChainScreen)
    await driver.until(lambda: screen.page is not None, "the chain is here")
    await driver.pilot.pause()
    return screen


@pytest.mark.parametrize("size", [NARROW, LARGE])
async def test_the_chain_to_the_selected_parameter(size: tuple[int, int]) -> None:
    async with running(size=size, stop=4) as driver:
        await driver.press("E")
        await chain_open(driver)
        text = screen_text(driver)
        for words in (
            "loss → net.0.weight · the shortest of 2 ways, 7 nodes",
            " press a to watch gradients: numbers come with the next backward",
            "AddmmBackward0",
            "net.0.weight",
            "|grad| now none",
            "2 join",
        ):
            assert words in text
        await driver.press("a")
        assert await driver.session.agent.told(m.SetWatching) == m.SetWatching(
            asked(driver, m.SetWatching)[0].id,
            True,
            None,
            "net.0.weight",  # type: ignore[attr-defined]
        )
        await driver.press("n")
        await driver.stopped_at(5)
        await driver.until(lambda: "|g| of the backward in iteration 1" in screen_text(driver), "the numbers are here")
        text = screen_text(driver)
        assert "AccumulateGrad adds |g| 0.1429 into .grad: none → 0.1429" in text
        assert "a unwatch" in text
        await driver.press("escape")
        await driver.until(lambda: driver.app.screen is driver.app.main, "it is closed")


async def test_what_is_wished_while_it_runs_is_done_at_the_next_stop() -> None:
    async with running(Script(runs_on=True), size=NARROW, stop=4) as driver:
        await driver.press("E")
        await chain_open(driver)
        await driver.press("c")
        await driver.until(lambda: driver.view.status is Status.RUNNING, "it runs")
        await driver.press("a")
        await driver.until(lambda: driver.notices(), "it is told that this is too late")
        assert not asked(driver, m.SetWatching)
        await driver.press("p")
        assert (await driver.session.agent.told(m.SetWatching)).chain == "net.0.weight"


async def test_tab_shows_the_other_path_and_y_copies() -> None:
    async with running(size=LARGE, stop=5) as driver:
        await driver.press("colon", *"backward net.0.weight", "enter")
        screen = await chain_open(driver)
        await driver.press("tab")
        await driver.until(lambda: screen.page is not None and screen.page.way is Way.LONGEST, "the longest is here")
        await driver.pilot.pause()
        assert "the longest of 2 ways" in screen_text(driver)
        await driver.press("y")
        lines = driver.app.clipboard.splitlines()
        assert lines[0] == "loss → net.0.weight · the longest of 2 ways, 7 nodes"
        assert lines[3].split() == ["node", "module", "shape", "|g|", "in", "|g|", "out", "ways"]
        assert lines[5].split() == ["SigmoidBackward0", "net.3", "32×1", "0.5000", "0.3333"]
        assert lines[-1] == "AccumulateGrad adds |g| 0.1429 into .grad: none → 0.1429"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("net2.0.bias", "the graph of loss does not reach net2.0.bias"),
        ("other", "no parameter is called other at this stop"),
    ],
)
async def test_where_no_chain_is_it_is_said_why(name: str, words: str) -> None:
    async with running(size=NARROW, stop=5) as driver:
        driver.app.chains.explain_backward(name)
        await driver.until(lambda: isinstance(driver.app.screen, ChainScreen), "the screen is open")
        await driver.until(lambda: words in screen_text(driver), words)


# ── a real run ──────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_plots_of_a_real_run_are_its_numbers_and_a_restart_overlays_them() -> None:
    async with real_runs.running("two_nets", size=LARGE) as driver:
        await driver.press("T")
        for _ in range(3):
            await driver.step("i")
        screen = plot_screen(driver)
        await driver.until(lambda: screen.plots.now.next_step == 3, "three steps are known")
        first = screen.plots.now
        grads = first.curves["grad", "optimiser"].points
        assert [point.last for point in grads] == [1, 2, 3]
        assert len(first.curves["loss", ""].points) == 3
        assert {point.value for point in first.curves["lr", "optimiser"].points} == {0.5}
        await driver.press("r")
        await driver.until(lambda: driver.app.plots.plots.now.number == 2, "another run")
        await driver.stopped_at(1)
        await driver.step("i")
        await driver.until(lambda: driver.app.plots.plots.now.next_step == 1, "a step is known")
        again = driver.app.plots.plots.now.curves["grad", "optimiser"].points
        assert again[0].value == grads[0].value  # the demo is seeded: the same run
        assert len(list(driver.app.plots.plots.curves("loss"))) == 2
        await driver.settled()
        assert "▲ run 2 (now) optimiser" in screen_text(driver)


async def test_while_gradients_are_watched_the_chain_on_screen_is_too() -> None:
    async with real_runs.running("two_nets", size=NARROW) as driver:
        await driver.step_until(lambda stop: stop.next is not None and stop.next.phase is Phase.BACKWARD, "a backward")
        driver.app.graph.watch("grads", on=True)
        await driver.settled()
        await driver.press("E")  # nothing is selected: the first parameter there is
        screen = await chain_open(driver)
        for way in (Way.SHORTEST, Way.LONGEST):
            await driver.until(lambda: screen.page is not None and screen.page.watched, "it is watched")
            await driver.settled()
            assert [(query.chain, query.way) for query in driver.told(m.SetWatching)][-1] == ("net.0.weight", way)
            await driver.press("tab")
            await driver.until(lambda way=way: screen.page is not None and screen.page.way is not way, "the other way")
        await driver.press("a")
        await driver.until(lambda: screen.page is not None and not screen.page.watched, "it is not watched any more")
        await driver.settled()
        assert driver.told(m.SetWatching)[-1].gradients is False


async def test_the_chain_of_a_real_backward() -> None:
    async with real_runs.running("two_nets", size=LARGE) as driver:
        await driver.step_until(lambda stop: stop.next is not None and stop.next.phase is Phase.BACKWARD, "a backward")
        driver.app.chains.explain_backward("net.0.weight")
        screen = await chain_open(driver)
        await driver.press("a")
        await driver.until(lambda: screen.page is not None and screen.page.watched, "it is watched")
        await driver.press("n")
        await driver.until(lambda: screen.page is not None and screen.page.iteration == 1, "the numbers are here")
        page = screen.page
        assert page is not None
        assert page.steps[0].entering is not None
        assert (page.steps[0].entering.norm, page.steps[0].entering.numel) == (1.0, 1)
        assert page.steps[-1].entering is not None
        assert page.steps[-1].entering.norm == pytest.approx(page.grad_now, rel=1e-6)
        assert all(step.leaving is not None for step in page.steps[:-1])
        assert driver.view.watching is not None
        assert (driver.view.watching.gradients, driver.view.watching.chain) == (True, "net.0.weight")
        assert math.isfinite(page.grad_after or math.nan)
        assert driver.view.status is Status.STOPPED
        assert torch.is_grad_enabled()
