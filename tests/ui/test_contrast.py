"""Every letter on the screen can be read: contrast by WCAG 2 level AA, and without any colour."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fake_session import FakeSession, Script, ends_with
from rich.color import Color
from rich.segment import Segment
from test_shell import Driver, running

from stepdbg.client.store import Status
from stepdbg.protocol.records import StopReason
from stepdbg.ui import StepdbgApp, UiConfig
from stepdbg.ui.header import HeaderLine
from stepdbg.ui.keyline import KeyLine
from stepdbg.ui.panes.rail import RailPane

LEAST = 4.5
"""Contrast of text with its background, WCAG 2.2 criterion 1.4.3."""


STALE = 3.0
"""The same for what is of the last stop while the script runs: dimmed, and still to be read."""


def luminance(colour: Color) -> float:
    """Relative luminance as WCAG 2 defines it, 0 for black to 1 for white."""
    parts = [value / 255 for value in colour.get_truecolor()]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(segment: Segment) -> float:
    style = segment.style
    assert style is not None
    assert style.color is not None
    assert style.bgcolor is not None
    light, dark = sorted((luminance(style.color), luminance(style.bgcolor)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def drawn(app: StepdbgApp) -> Iterator[Segment]:
    """What is on the screen, without the line of keys (what cannot be used now is dimmed there on purpose)."""
    strips = app.screen._compositor.render_strips()
    for y, strip in enumerate(strips):
        if y != app.main.query_one(KeyLine).region.y:
            yield from strip


def hard_to_read(app: StepdbgApp, least: float = LEAST) -> list[str]:
    texts = [segment for segment in drawn(app) if any(letter.isalnum() for letter in segment.text)]
    assert len(texts) > 50
    return sorted(
        {
            f"{contrast(segment):.2f} {segment.style} {segment.text.strip()!r}"
            for segment in texts
            if contrast(segment) < least
        }
    )


async def seen(driver: Driver) -> None:
    await driver.until(lambda: driver.view.history[-1].values, "the values are here")
    await driver.pilot.pause()


@pytest.mark.parametrize("theme", ["stepdbg-dark", "stepdbg-light"])
@pytest.mark.parametrize("stop", [4, 6])
async def test_every_letter_has_contrast(theme: str, stop: int) -> None:
    async with running(size=(160, 50), config=UiConfig(theme=theme), stop=stop) as driver:
        await seen(driver)
        assert hard_to_read(driver.app) == []


@pytest.mark.parametrize("theme", ["stepdbg-dark", "stepdbg-light"])
async def test_failures_and_tabs_have_contrast(theme: str) -> None:
    script = Script(stops=ends_with(StopReason.EXCEPTION))
    async with running(script, size=(80, 24), config=UiConfig(theme=theme)) as driver:
        await driver.press("c")
        await driver.until(lambda: driver.view.history[-1].stop.reason is StopReason.EXCEPTION, "it failed")
        await driver.press("2")
        await driver.until(lambda: driver.view.history[-1].parameters, "the parameters are here")
        await driver.pilot.pause()
        assert hard_to_read(driver.app) == []


@pytest.mark.parametrize("theme", ["stepdbg-dark", "stepdbg-light"])
async def test_what_is_dimmed_while_it_runs_has_contrast(theme: str) -> None:
    async with running(Script(runs_on=True), size=(160, 50), config=UiConfig(theme=theme)) as driver:
        await seen(driver)
        await driver.press("c")
        await driver.until(lambda: driver.view.status is Status.RUNNING, "it runs")
        await driver.pilot.pause()
        assert hard_to_read(driver.app, STALE) == []


async def test_without_colour_words_and_signs_say_it_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    app = StepdbgApp(FakeSession())
    app.animation_level = "none"
    async with app.run_test(size=(120, 40)) as pilot:
        driver = Driver(app, pilot, app._session)
        await driver.stopped_at(1)
        await driver.press("n")
        await driver.stopped_at(2)
        await driver.until(lambda: driver.view.history[-1].parameters, "the parameters are here")
        assert "● stopped" in driver.text(HeaderLine)
        assert "✓" in driver.text(RailPane)
        assert "▶" in driver.text(RailPane)
        screen = "\n".join(strip.text for strip in app.screen._compositor.render_strips())
        for words in ("nobody", "next: ▶", "n next", "▌"):
            assert words in screen
        for segment in drawn(app):
            for colour in (segment.style.color, segment.style.bgcolor) if segment.style else ():
                if colour is not None and not colour.is_default:
                    red, green, blue = colour.get_truecolor()
                    assert red == green == blue
