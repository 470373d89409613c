"""The values pane in the whole app, on a real run: every key and command of it, at both kinds of screen."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from real_runs import Driver, running
from torch import nn

from stepdbg.protocol import messages as m
from stepdbg.protocol.records import Phase
from stepdbg.ui.panes.graph import GraphPane
from stepdbg.ui.panes.values import ValuesBody, ValuesPane
from stepdbg.ui.panes.values.look import DISPLAYS, Origin

SMALL, LARGE = (80, 24), (160, 50)

SCRIPT = """\
import torch
from torch import nn

torch.manual_seed(0)
net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2))
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
batch = [torch.arange(96.0).reshape(2, 3, 4, 4) / 96, "words"]
broken = torch.tensor([1.0, float("nan"), float("inf")])
calls = []


def counted():
    calls.append(1)
    return torch.full((2, 2), float(len(calls)))


for _ in range(3):
    optimizer.zero_grad()
    loss = net(batch[0]).square().mean()
    loss.backward()
    optimizer.step()
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "small_conv.py"
    path.write_text(SCRIPT)
    return path


def conv() -> torch.Tensor:
    torch.manual_seed(0)
    return nn.Conv2d(3, 4, 3).weight.detach()


async def enter(driver: Driver, line: str) -> None:
    await driver.press("colon")
    await driver.until(lambda: driver.app.main.prompt.is_open, "the prompt is open")
    driver.app.main.prompt.input.value = line
    await driver.press("enter")
    await driver.settled()


async def at_backward(driver: Driver) -> ValuesPane:
    await driver.step_until(lambda s: s.next is not None and s.next.phase is Phase.STEP, "after a backward")
    await driver.press("3")
    await driver.settled()
    pane = driver.app.main.query_one(ValuesPane)
    await driver.until(lambda: pane.record is not None and pane.body.has_focus, "the numbers are there")
    assert pane.subject == "net.0.weight"
    return pane


def said(driver: Driver) -> str:
    return [notice.message for notice in driver.app._notifications][-1]


def shown(driver: Driver) -> str:
    return driver.text(ValuesBody)


def grid(pane: ValuesPane, side: int = 0) -> list[list[str]]:
    """The numbers on screen of one side, without the labels."""
    tensor = pane.body.tensor
    assert tensor is not None
    lines = [pane.body.render_line(y).text for y in range(pane.body.size.height)]
    parts = [line.split("│")[side].split() for line in lines]
    head = next(at for at, part in enumerate(parts) if part and all(word.isdigit() for word in part))
    rows = [part for part in parts[head + 1 :] if part]
    labelled = (
        len(tensor.indexed or tensor.shape) > 1 and pane.body.axes is not None and pane.body.axes.row_label(0) != ""
    )
    return [[word for word in row[1 if labelled else 0 :] if word != "…"] for row in rows]


def near(words: list[list[str]], numbers: torch.Tensor, digits: int = 4) -> None:
    for row, line in zip(words, numbers.tolist(), strict=False):
        for word, number in zip(row, line, strict=False):
            assert word.replace("−", "-") == (f"{number:.{digits}g}".replace("e-0", "e-").replace("e+0", "e"))


both_sizes = pytest.mark.parametrize("size", [SMALL, LARGE], ids=["80x24", "160x50"])


@both_sizes
async def test_slices(script: Path, size: tuple[int, int]) -> None:
    weight = conv()
    async with running(script, size=size) as driver:
        pane = await at_backward(driver)
        assert "36" not in shown(driver).split()
        near(grid(pane), weight.reshape(-1, 3))
        await enter(driver, "slice 0, :, 2")
        assert said(driver) == "slice: 3 indices for 4 dimensions (4×3×3×3): give 4, as in :, :, :, :, or use ..."
        await enter(driver, "slice -1, :, 2, 1:")
        assert pane.border_title == "3 Values ─ 0.weight[-1, :, 2, 1:]"
        near(grid(pane), weight[-1, :, 2, 1:])
        assert f"{weight[-1, :, 2, 1:].max().item():.3f}" in shown(driver)
        assert pane.border_subtitle.startswith(f"[3, 0, 2, 1] = {weight[3, 0, 2, 1].item()!r}".replace("-", "−"))
        await enter(driver, "slice 9, ...")
        assert said(driver) == "slice: index 9 is outside dimension 0 of size 4: 0 to 3"
        await enter(driver, "goto 0, 0, 0, 0")
        assert said(driver) == "goto: it is outside of the slice: slice alone shows the whole tensor"
        await enter(driver, "slice")
        assert pane.border_title == "3 Values ─ 0.weight"
        near(grid(pane), weight.reshape(-1, 3))


@both_sizes
async def test_the_cursor_tells_element_and_exact_value(script: Path, size: tuple[int, int]) -> None:
    weight = conv()
    async with running(script, size=size) as driver:
        pane = await at_backward(driver)
        await driver.press("j", "j", "j", "right")
        assert driver.app.element == (0, 1, 0, 1)
        assert f"[0, 1, 0, 1] = {weight[0, 1, 0, 1].item()!r}".replace("-", "−") in pane.border_subtitle
        await driver.press("G")
        assert driver.app.element == (3, 2, 2, 1)
        assert pane.body.origin.row + pane.body.grid_height - 1 >= 36
        await enter(driver, "goto 3, 0, -1, 0")
        assert driver.app.element == (3, 0, 2, 0)
        for line, message in (
            ("goto 3, 0, 9, 0", "goto: index 9 is outside dimension 2 of size 3: 0 to 2"),
            ("goto 3, 0", "goto: 2 indices for 4 dimensions (4×3×3×3): give 4, as in :, :, :, :, or use ..."),
        ):
            await enter(driver, line)
            assert said(driver) == message
        assert driver.app.element == (3, 0, 2, 0)


@both_sizes
async def test_to_the_largest_the_smallest_and_what_is_not_finite(script: Path, size: tuple[int, int]) -> None:
    weight = conv()
    largest, smallest = (
        tuple(int(i) for i in torch.unravel_index(at, weight.shape)) for at in (weight.argmax(), weight.argmin())
    )
    async with running(script, size=size) as driver:
        pane = await at_backward(driver)
        await driver.press("M")
        await driver.settled()
        assert driver.app.element == largest
        assert said(driver).startswith(f"the largest element: {weight.max().item()!r} at [")
        await driver.press("m")
        await driver.settled()
        assert driver.app.element == smallest
        await driver.press("x")
        await driver.settled()
        assert said(driver) == "goto: all elements are finite"
        await enter(driver, "goto max grad")
        assert driver.told(m.SeekElement)[-1] == m.SeekElement(0, "net.0.weight", "max", side="grad")
        record = pane.record
        assert record is not None
        assert record.grad is not None
        assert record.grad.stats is not None
        assert said(driver).startswith(f"the largest element: {record.grad.stats.max!r} at [".replace("-", "−"))
        await enter(driver, "goto max difference")
        assert said(driver).startswith("goto: ")
        await enter(driver, "show broken")
        await enter(driver, "goto nan")
        assert pane.element == (1,)
        assert "[1] = nan" in pane.border_subtitle


@both_sizes
async def test_displays(script: Path, size: tuple[int, int]) -> None:
    async with running(script, size=size) as driver:
        pane = await at_backward(driver)
        wanted = {
            "heatmap": ("−0.1920", "0,0,1"),
            "histogram": ("linear counts · all 108 finite",),
            "log-histogram": ("logarithmic counts",),
            "summary": ("numel", "rms", "zeros", "+inf"),
            "numbers": ("min", "norm"),
        }
        for display in (*DISPLAYS[1:], DISPLAYS[0]):
            await driver.press("v")
            await driver.settled()
            assert pane.look.display == display
            for words in wanted[display]:
                assert words in shown(driver), (display, shown(driver))
            assert (f"· {display}" in pane.border_title) == (display != "numbers")
        for display in DISPLAYS:
            await enter(driver, f"form {display}")
            assert pane.look.display == display
        await enter(driver, "form")
        assert pane.look.display == "numbers"


async def test_a_heatmap_has_the_colours_of_its_numbers(script: Path) -> None:
    async with running(script, size=LARGE) as driver:
        pane = await at_backward(driver)
        await enter(driver, "form heatmap")
        weight = conv().reshape(-1, 3)
        limit = weight.abs().max().item()
        body = pane.body
        lines = [body.render_line(y) for y in range(body.size.height)]
        row = next(strip for strip in lines if strip.text.startswith(" 0,0,1 "))
        cells = [s for s in row if s.style is not None and s.style.bgcolor is not None and len(s.text) == 2][:3]
        for cell, value in zip(cells, weight[1].tolist(), strict=True):
            level = math.ceil(abs(value) / limit * 4)
            blue, yellow = ("#005f87", "#0087af", "#00afd7", "#5fd7ff"), ("#875f00", "#af8700", "#d7af00", "#ffd75f")
            assert cell.style.bgcolor.get_truecolor().hex == (blue if value < 0 else yellow)[level - 1]
            assert cell.text[0] == ("−" if value < 0 else " ")


@both_sizes
async def test_digits(script: Path, size: tuple[int, int]) -> None:
    weight = conv().reshape(-1, 3)
    async with running(script, size=size) as driver:
        pane = await at_backward(driver)
        await driver.press("less_than_sign")
        near(grid(pane), weight, 3)
        await driver.press("greater_than_sign", "greater_than_sign")
        near(grid(pane), weight, 5)
        await enter(driver, "precision 2")
        near(grid(pane), weight, 2)
        await driver.press(*["less_than_sign"] * 3)
        assert pane.look.precision == 1


@both_sizes
async def test_sides(script: Path, size: tuple[int, int]) -> None:
    async with running(script, size=size) as driver:
        pane = await at_backward(driver)
        assert pane.body.sides == ("value", "grad")
        before = len(driver.told(m.GetValues))
        await driver.press("d")
        await driver.settled()
        assert driver.told(m.GetValues)[before].sides == ("value", "previous", "difference")
        assert "no previous value" in shown(driver)
        assert "gradient" not in shown(driver)
        await driver.press("d")
        await driver.settled()
        assert "gradient" in shown(driver)
        await driver.press("d")
        await driver.settled()
        assert pane.body.sides == ("value", "grad")


async def test_previous_and_difference_where_they_are_recorded(script: Path) -> None:
    async with running(script, size=LARGE) as driver:
        pane = await at_backward(driver)
        tracker: Any = __import__("stepdbg.custom_phase", fromlist=["observer"]).observer
        # As if a step had been stepped through that began with zeros everywhere.
        tracker.before.value_of = torch.zeros_like
        await driver.press("d", "z")
        await driver.settled()
        assert pane.body.sides == ("value", "previous", "difference")
        near(grid(pane, 1), torch.zeros(36, 3))
        near(grid(pane, 2), conv().reshape(-1, 3))
        assert "difference" in shown(driver)


@both_sizes
async def test_expressions(script: Path, size: tuple[int, int]) -> None:
    batch = torch.arange(96.0).reshape(2, 3, 4, 4) / 96
    async with running(script, size=size) as driver:
        pane = await at_backward(driver)
        await enter(driver, "show batch[0]")
        assert pane.border_title == "3 Values ─ batch[0]"
        near(grid(pane), batch.reshape(-1, 4))
        assert "gradient" not in shown(driver)
        await enter(driver, "slice 1, 2, ...")
        near(grid(pane), batch[1, 2])
        await enter(driver, "show net[0].weight.grad[0, 0].T")
        record = pane.record
        assert record is not None
        assert record.name == "=net[0].weight.grad[0, 0].T"
        await enter(driver, "show batch[1]")
        assert "'words'" in sentence(pane)
        await enter(driver, "show nowhere")
        assert sentence(pane) == "Could not be read: nowhere: NameError: name 'nowhere' is not defined"
        await enter(driver, "show loss")
        assert pane.record is not None
        assert pane.record.value is not None
        loss = float(pane.record.value.cells[0][0])
        await driver.step("i")
        await driver.step_until(lambda s: s.next is not None and s.next.phase is Phase.STEP, "after a backward")
        assert float(pane.record.value.cells[0][0]) < loss  # evaluated anew at each stop
        await enter(driver, "show net.3.bias")
        assert pane.record.name == "=net.3.bias"
        assert pane.record.grad is not None
        await enter(driver, "show -")
        assert pane.subject == "net.0.weight"


def sentence(pane: ValuesPane) -> str:
    return str(pane._sentence.content)


@both_sizes
async def test_what_runs_code_is_evaluated_only_when_asked(script: Path, size: tuple[int, int]) -> None:
    async with running(script, size=size) as driver:
        pane = await at_backward(driver)
        await enter(driver, "show counted()")
        near(grid(pane), torch.full((2, 2), 1.0))
        await driver.press("l", "j")
        near(grid(pane), torch.full((2, 2), 1.0))
        await driver.step()
        assert sentence(pane) == "counted() has a call in it, which runs code: enter evaluates it at this stop."
        await driver.press("3", "enter")
        await driver.settled()
        near(grid(pane), torch.full((2, 2), 2.0))
        await driver.press("enter")
        await driver.settled()
        near(grid(pane), torch.full((2, 2), 3.0))


@both_sizes
async def test_copy_as_python(script: Path, size: tuple[int, int]) -> None:
    async with running(script, size=size) as driver:
        await at_backward(driver)
        await enter(driver, "slice 1, ..., 0")
        await driver.press("y")
        await driver.settled()
        assert said(driver) == "copied as Python: 9 elements"
        assert eval(driver.app.clipboard).equal(conv()[1, ..., 0])


@both_sizes
async def test_outputs_of_marked_modules(script: Path, size: tuple[int, int]) -> None:
    async with running(script, size=size) as driver:
        pane = await at_backward(driver)
        await enter(driver, "mark")
        assert said(driver) == "no module is marked: mark net.2, or m on a module in the graph"
        await enter(driver, "mark net.0")
        assert said(driver) == "net.0: its output is kept from its next call on, while stepping: show net.0 output"
        await enter(driver, "show net.0 output")
        assert "net.0 has not been called in this iteration since it was marked" in sentence(pane)
        await driver.step("i")
        await driver.step_until(lambda s: s.next is not None and s.next.phase is Phase.STEP, "after a backward")
        await driver.settled()
        assert sentence(pane) == "call 1 of 1 in this iteration"
        assert pane.record is not None
        assert pane.record.value is not None
        assert pane.record.value.shape == (2, 4, 2, 2)
        await enter(driver, "mark")
        assert said(driver) == "outputs kept in this iteration: net.0 (1 call, 128 B) of 64.0 MiB in all"
        await enter(driver, "unmark net.0")
        assert said(driver) == "net.0: its output is kept no longer"
        await enter(driver, "unmark net.9")
        assert said(driver) == "unmark: net has no module 9: 0, 1, 2, 3"


async def test_a_module_is_marked_in_the_graph(script: Path) -> None:
    async with running(script, size=LARGE) as driver:
        await driver.step_until(lambda s: s.next is not None and s.next.phase is Phase.BACKWARD, "before a backward")
        await driver.press("1")
        tree = driver.app.main.query_one(GraphPane).tree_list
        await driver.until(lambda: len(tree.rows) > 2, "the graph is there")
        await driver.press("home", "m")
        assert said(driver) == "m keeps what a module puts out: put the cursor on a module"
        at = next(index for index, row in sorted(tree.rows.items()) if row.kind == "module")
        await driver.press(*["j"] * at, "m")
        await driver.settled()
        name = tree.rows[at].name
        assert said(driver).startswith(f"{name}: its output is kept from its next call on")
        await driver.press("m")
        await driver.settled()
        assert said(driver) == f"{name}: its output is kept no longer"


async def test_another_parameter_has_a_slice_and_a_cursor_of_its_own(script: Path) -> None:
    async with running(script, size=LARGE) as driver:
        pane = await at_backward(driver)
        await enter(driver, "slice 1, ...")
        await driver.press("j", "j")
        assert driver.app.element == (1, 0, 2, 0)
        await driver.press("2", "j")
        await driver.settled()
        assert driver.app.selected == "net.0.bias"
        assert driver.app.element == ()
        assert pane.body.cell == Origin()
        assert pane.border_title == "3 Values ─ 0.bias"
        await driver.press("ctrl+k")
        await driver.settled()
        assert pane.border_title == "3 Values ─ 0.weight[1, ...]"


async def test_looking_back_shows_what_was_recorded(script: Path) -> None:
    async with running(script, size=LARGE) as driver:
        pane = await at_backward(driver)
        await driver.step()
        await enter(driver, "slice 1, ...")
        await driver.press("left_square_bracket")
        await driver.settled()
        near(grid(pane), conv().reshape(-1, 3))
        await driver.press("3", "d")
        await driver.settled()
        assert "not recorded: it" in shown(driver)
