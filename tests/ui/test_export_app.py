"""`:export` and the other commands on graphs, typed at the prompt; and writing files, against pages made by hand."""

from __future__ import annotations

import asyncio
import json
import os
import re
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import fake_graph
import fake_records
import pytest
from fake_session import Script
from test_shell import NARROW, Driver, running

from stepdbg.commands import exporting
from stepdbg.commands.exporting import export_graph
from stepdbg.errors import RequestError, SessionClosedError, UsageError
from stepdbg.export import SUFFIXES
from stepdbg.protocol import codec
from stepdbg.protocol import messages as m
from stepdbg.protocol.graph import PLAIN, GraphEdges, GraphPage, GraphRow, GraphView, Lens
from stepdbg.ui.messages import ParametersMarked
from stepdbg.ui.panes.graph import GraphPane
from stepdbg.ui.progress import ProgressLine

FORWARD = 4
"""A stop of the scripted run at which there is a graph."""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The screen's working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


async def _one_turn(*_limits: float) -> None:
    await asyncio.sleep(0.001)


@pytest.fixture(autouse=True)
def brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pilot waits for messages to be handled, not for an idle processor: that would be the end of an export."""
    monkeypatch.setattr("textual.app.wait_for_idle", _one_turn)
    monkeypatch.setattr("textual.pilot.wait_for_idle", _one_turn)


def files(folder: Path) -> list[str]:
    """Names of what is in it."""
    return sorted(path.name for path in folder.iterdir())


async def enter(driver: Driver, line: str) -> None:
    await driver.press("colon")
    driver.app.main.prompt.input.value = line
    await driver.press("enter")
    await driver.pilot.pause()


async def says(driver: Driver, line: str, words: str) -> str:
    """Enter `line` and wait for one notice with these words."""
    await enter(driver, line)  # the prompt has taken away what was told before

    def found() -> list[str]:
        return [text for text in driver.notices() if words in text]

    await driver.until(found, f"{line!r} is answered with {words!r}, not {driver.notices()}")
    (text,) = driver.notices()
    assert "\n" not in text
    return text


def pane(driver: Driver) -> GraphPane:
    return driver.app.main.query_one(GraphPane)


# ── at the prompt ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("suffix", SUFFIXES)
async def test_the_visible_graph_is_written_in_every_format(here: Path, suffix: str) -> None:
    async with running(stop=FORWARD) as driver:
        said = await says(driver, f"export graph{suffix}", f"graph{suffix}: ")
        nodes, edges = map(int, re.findall(r"(\d+) (?:node|edge)", said))
        written = (here / f"graph{suffix}").read_text(encoding="utf-8")
        assert files(here) == [f"graph{suffix}"]
        shown = [row.index for row in fake_graph.visible(pane(driver).lens)]
        query = m.GetGraphEdges(0, 0, 5000, pane(driver).lens)
        assert edges == len(fake_graph.edges(query).edges)
        if suffix == ".json":
            assert [node["index"] for node in json.loads(written)["nodes"]] == shown
            assert nodes == len(shown)
        elif suffix in (".dot", ".gv"):
            assert len(re.findall(r"^ *n\d+ \[", written, re.MULTILINE)) == nodes
            assert len(re.findall(r"^ *n\d+ -> n\d+", written, re.MULTILINE)) == edges
        else:
            assert len(re.findall(r"^ *n\d+[\[(>]", written, re.MULTILINE)) == nodes
            assert len(re.findall(r"^ *n\d+ -->", written, re.MULTILINE)) == edges


async def test_what_is_written_is_what_the_pane_shows(here: Path) -> None:
    async with running(stop=FORWARD) as driver:
        await enter(driver, "view raw")
        await says(driver, "export raw.json", "raw.json: ")
        raw = json.loads((here / "raw.json").read_text())
        assert raw["view"] == "raw"
        assert {node["kind"] for node in raw["nodes"]} == {"loss", "op", "parameter"} | {
            row.kind for row in fake_graph.visible(Lens(view=GraphView.RAW))
        }
        await enter(driver, "view modules")
        await enter(driver, "fold all")
        await says(driver, "export folded.json", "folded.json: ")
        folded = json.loads((here / "folded.json").read_text())
        rows = fake_graph.visible(replace(pane(driver).lens, base=0))
        assert [node["name"] for node in folded["nodes"]] == [row.name for row in rows]
        assert len(rows) < len(fake_graph.visible(PLAIN))


async def test_a_file_that_is_there_is_replaced_only_when_told_so(here: Path) -> None:
    (here / "graph.dot").write_text("mine")
    async with running(stop=FORWARD) as driver:
        said = await says(driver, "export graph.dot", "there is a graph.dot")
        assert said == "export: there is a graph.dot: export! graph.dot replaces it"
        assert (here / "graph.dot").read_text() == "mine"
        await says(driver, "export! graph.dot", "graph.dot: ")
        assert (here / "graph.dot").read_text().startswith("digraph")


async def test_a_line_that_cannot_be_run_stays_at_the_prompt(here: Path) -> None:
    async with running(stop=FORWARD) as driver:
        await enter(driver, "export graph.png")
        assert driver.app.main.prompt.is_open
        assert driver.app.main.prompt.input.value == "export graph.png"
        message = driver.app.main.query_one("#prompt-message").render()
        assert "no format for .png: graph.dot, graph.mmd, graph.md or graph.json" in str(message)
        assert not files(here)


async def test_home_and_other_folders(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "home").mkdir()
    (here / "runs").mkdir()
    monkeypatch.setenv("HOME", str(here / "home"))
    async with running(stop=FORWARD) as driver:
        await says(driver, "export ~/a b.dot", "~/a b.dot: ")
        assert (here / "home" / "a b.dot").is_file()
        await says(driver, f"export {here}/runs/graph.dot", "graph.dot: ")
        assert (here / "runs" / "graph.dot").is_file()


@pytest.mark.parametrize("key", ["c", "left_square_bracket"])
async def test_there_must_be_a_graph_that_can_be_asked_for(here: Path, key: str) -> None:
    async with running(Script(runs_on=True), stop=FORWARD) as driver:
        await driver.press(key)
        wanted = "p pauses it" if key == "c" else "} returns to the present one"
        if key == "c":
            await driver.until(lambda: driver.view.status.value == "running", "it runs")
        await says(driver, "export graph.dot", wanted)
    assert not files(here)


async def test_no_graph_yet(here: Path) -> None:
    async with running() as driver:
        await driver.until(lambda: driver.view.history[-1].graph is not None, "the graph pane was answered")
        await says(driver, "export graph.dot", fake_graph.NO_GRAPH.note)
    assert not files(here)


@pytest.mark.parametrize("kind", [m.GetGraph, m.GetGraphEdges])
async def test_the_script_goes_on_while_the_graph_is_read(here: Path, kind: type[Any]) -> None:
    async with running(stop=FORWARD) as driver:
        agent = driver.session.agent
        agent.slow = (kind,)
        asked = sum(isinstance(message, kind) for message in agent.received)
        await enter(driver, "export graph.dot")
        await agent.told(kind, asked + 1)
        await driver.press("n")
        await driver.until(driver.notices, "something is said")
        (said,) = driver.notices()
        assert said.startswith("export: nothing was written: cancelled")
        agent.release()
    assert not files(here)


async def test_a_walk_that_the_export_waits_for_is_told(here: Path) -> None:
    async with running(stop=FORWARD) as driver:
        agent, line = driver.session.agent, driver.app.main.query_one(ProgressLine)
        agent.slow = (m.GetGraph,)
        await enter(driver, "export graph.dot")
        await driver.until(lambda: agent.waiting, "the graph was asked for")
        agent.work(34_000)
        await driver.until(lambda: line.display, "the line is there")
        assert line.render().plain == "reading nodes: 34,000 · escape stops it"
        await driver.press("escape")
        await agent.told(m.Cancel)
        await driver.until(lambda: not line.display, "the line is gone")
        assert driver.notices() == ["export: stopped, nothing was written"]
        agent.release()
    assert not files(here)


# ── a large graph ──────────────────────────────────────────────────────────────────────────────────────────────

MANY = 30_000


def many(query: Any) -> Any:
    """A chain of modules with seven rows each."""
    if isinstance(query, m.GetGraphEdges):
        last = min(query.offset + query.count, MANY - 1)
        return GraphEdges(query.offset, MANY - 1, tuple((i, i + 1, 1) for i in range(query.offset, last)))
    assert isinstance(query, m.GetGraph)
    rows = tuple(
        GraphRow(i, i % 7, "module" if i % 7 == 0 else "op", f"layer.{i}", "Linear", (32, 6), 1, 6, MANY - i)
        for i in range(query.offset, min(query.offset + query.count, MANY))
    )
    return GraphPage(
        FORWARD, query.offset, MANY, rows, "loss", "X", FORWARD, False, MANY, MANY - 1, (), graph=1,
        choices=fake_graph.choices(FORWARD, freed=False),
    )  # fmt: skip


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """The scripted agent has a large graph."""
    small = fake_records.answer

    def answer(query: Any, number: int) -> Any:
        return many(query) if isinstance(query, (m.GetGraph, m.GetGraphEdges)) else small(query, number)

    monkeypatch.setattr(fake_records, "answer", answer)


async def test_escape_stops_a_long_export_and_nothing_is_left(here: Path, large: None) -> None:
    async with running(stop=FORWARD) as driver:
        line = driver.app.main.query_one(ProgressLine)
        await enter(driver, "export graph.dot")
        await driver.until(lambda: line.progress and line.progress[1] > 31_000, "rows are being written")
        assert [name.endswith(".part") for name in files(here)] == [True]
        await says(driver, "export other.dot", "one is under way, escape stops it")
        assert line.display
        assert "exporting graph.dot" in line.render().plain
        await driver.press("escape")
        await driver.until(lambda: not files(here), "the draft is gone")
        assert driver.notices()[-1] == "export: stopped, nothing was written"
        await driver.until(lambda: not line.display, "the line is gone")
        await driver.press("2")
        await driver.until(lambda: driver.app.main.current == "2", "keys mean what they meant")


async def test_keys_are_heard_while_a_large_graph_is_written(here: Path, large: None) -> None:
    async with running(stop=FORWARD) as driver:
        line = driver.app.main.query_one(ProgressLine)
        await enter(driver, "export graph.json")
        await driver.until(lambda: line.progress, "it has begun")
        heard = 0
        while line.progress is not None:
            number = str(heard % 2 + 1)
            await driver.press(number)
            await driver.until(lambda number=number: driver.app.main.current == number, f"pane {number} is current")
            heard += line.progress is not None
        assert heard > 10
        await driver.until(lambda: driver.notices(), "it is done")
        assert driver.notices() == ["graph.json: 30,000 nodes, 29,999 edges"]
        read = json.loads((here / "graph.json").read_text())
        assert [node["index"] for node in read["nodes"]] == list(range(MANY))
        assert len(read["edges"]) == MANY - 1


# ── the other commands ──────────────────────────────────────────────────────────────────────────────────────────


async def test_what_is_watched_is_switched_and_told() -> None:
    async with running(stop=FORWARD) as driver:
        told = driver.session.agent.told
        await says(driver, "watch", "nothing is watched: watch grads, or watch stacks")
        assert replace(await told(m.SetWatching), id=0) == m.SetWatching(0)
        await says(driver, "watch gradients", "watched: gradients")
        assert replace(await told(m.SetWatching, 2), id=0) == m.SetWatching(0, gradients=True)
        await driver.until(lambda: driver.view.watching and driver.view.watching.gradients, "the panes know it")
        await says(driver, "watch stacks", "the lines that make nodes")
        assert replace(await told(m.SetWatching, 3), id=0) == m.SetWatching(0, stacks=True)
        await says(driver, "unwatch grads", "nothing is watched")
        assert replace(await told(m.SetWatching, 4), id=0) == m.SetWatching(0, gradients=False)
        await says(driver, "unwatch stacks", "nothing is watched")
        assert replace(await told(m.SetWatching, 5), id=0) == m.SetWatching(0, stacks=False)


async def test_what_is_wished_when_the_script_has_just_gone_on_is_done_at_its_next_stop() -> None:
    async with running(stop=FORWARD) as driver:
        driver.app.resume_script(m.Action.NEXT)
        driver.app.graph.watch("grads", on=True)  # asked for before the screen shows that it has gone on
        await driver.stopped_at(FORWARD + 1)
        assert replace(await driver.session.agent.told(m.SetWatching), id=0) == m.SetWatching(0, gradients=True)
        await driver.until(lambda: driver.view.watching and driver.view.watching.gradients, "the panes know it")
        assert "watch: the script has gone on: from its next stop on" in driver.notices()


async def test_watching_needs_a_stop() -> None:
    async with running(Script(runs_on=True), stop=FORWARD) as driver:
        await driver.press("c")
        await driver.until(lambda: driver.view.status.value == "running", "it runs")
        await says(driver, "watch grads", "the script is running: p pauses it")


async def test_views_and_folds() -> None:
    async with running(stop=FORWARD) as driver:
        for line, view in (("view raw", "raw"), ("view", "modules"), ("layout", "raw"), ("view mod", "modules")):
            await enter(driver, line)
            assert pane(driver).lens.view.value == view
        for line, base in (("fold none", 2), ("fold all", 0), ("fold d", 1)):
            await enter(driver, line)
            assert pane(driver).lens.base == base
        assert driver.notices() == []


async def test_choosing_a_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    two = (*fake_graph.choices(FORWARD, freed=False), fake_graph.GRADIENT)
    monkeypatch.setattr(fake_graph, "choices", lambda *_args, **_more: two)
    async with running(stop=FORWARD) as driver:
        await driver.until(lambda: driver.view.history[-1].graph is not None, "the graph pane was answered")
        await says(driver, "which 99", "which: there is no graph 99: 1 loss BCELoss, 7 gradient of net.0.weight")
        await enter(driver, "which 7")
        assert pane(driver).lens.graph == 7
        screens = len(driver.app.screen_stack)
        await enter(driver, "graphs")
        await driver.until(lambda: len(driver.app.screen_stack) == screens + 1, "the picker is open")
        await driver.press("escape")
        await driver.until(lambda: len(driver.app.screen_stack) == screens, "the picker is closed")


@pytest.mark.parametrize("line", ["view raw", "fold all"])
async def test_where_one_pane_is_on_screen_it_becomes_the_graph(line: str) -> None:
    async with running(size=NARROW, stop=FORWARD) as driver:
        await driver.press("2")
        await driver.until(lambda: driver.app.main.current == "2", "the parameters are on screen")
        await enter(driver, line)
        await driver.until(lambda: driver.app.main.current == "1", "the graph is on screen")


async def test_what_the_graph_selects_is_marked_in_the_other_panes() -> None:
    async with running(stop=FORWARD) as driver:
        names = ("net.2.weight", "net.2.bias")
        pane(driver).post_message(ParametersMarked(names))
        parameters = driver.app.main.pane("2")
        await driver.until(lambda: parameters.marked == frozenset(names), "the names have come down")


# ── writing ─────────────────────────────────────────────────────────────────────────────────────────────────────

ROWS = tuple(GraphRow(i, 0, "op", f"op{i}", "", None, 1, 0, 9 - i) for i in range(4))
PAGE = GraphPage(4, 0, 4, ROWS, "loss", "X", 4, False, 4, 3, (), graph=3)
EDGES = GraphEdges(0, 3, ((0, 1, 1), (1, 2, 1), (2, 3, 1)))


class Asked:
    """Answers with the pages that it is given, in order; an exception is raised."""

    def __init__(self, *graphs: Any, edges: Any = EDGES) -> None:
        self.graphs, self.edges = list(graphs), edges
        self.queries: list[Any] = []

    async def __call__(self, query: Any, progress: Any = None) -> Any:
        self.queries.append(query)
        answer = self.edges if isinstance(query, m.GetGraphEdges) else self.graphs.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


async def export(asked: Any, name: str = "graph.dot", *, over: bool = False, lens: Lens = PLAIN) -> str:
    return await export_graph(asked, lens, name, over=over, tell=lambda _what, _done, _total: None)


async def test_all_pages_are_of_the_graph_that_the_first_was_of(here: Path) -> None:
    halves = replace(PAGE, rows=ROWS[:2]), replace(PAGE, offset=2, rows=ROWS[2:])
    asked = Asked(*halves)
    lens = Lens(pattern="op", base=2)
    assert await export(asked, lens=lens) == "graph.dot: 4 nodes, 3 edges"
    fixed = replace(lens, graph=3)
    size = exporting.ROWS
    assert asked.queries == [
        m.GetGraph(0, 0, size, lens), m.GetGraphEdges(0, 0, exporting.EDGES, fixed), m.GetGraph(0, 2, size, fixed),
    ]  # fmt: skip
    assert size <= 2000


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        (Asked(replace(PAGE, recorded_at=None, note="no graph yet.")), "no graph yet"),
        (Asked(replace(PAGE, recorded_at=None)), "there is no graph yet"),
        (Asked(replace(PAGE, rows=(), total=0)), "nothing in the graph matches “conv”"),
        (Asked(replace(PAGE, rows=ROWS[:2]), replace(PAGE, total=5)), "the graph became another one"),
        (Asked(replace(PAGE, rows=ROWS[:2]), replace(PAGE, graph=4)), "the graph became another one"),
        (Asked(replace(PAGE, rows=ROWS[:2]), replace(PAGE, rows=())), "the graph became another one"),
        (Asked(PAGE, edges=GraphEdges(0, 9, ())), "the graph became another one"),
        (Asked(RequestError("too deep")), "too deep"),
        (Asked(replace(PAGE, rows=ROWS[:2]), SessionClosedError("gone")), "gone"),
    ],
)
async def test_what_goes_wrong_while_reading_leaves_nothing_behind(here: Path, asked: Asked, error: str) -> None:
    with pytest.raises((UsageError, RequestError, SessionClosedError), match=error) as caught:
        await export(asked, lens=Lens(pattern="conv"))
    assert "\n" not in str(caught.value)
    assert not files(here)


def folder(here: Path) -> None:
    (here / "graph.dot").mkdir()


def pipe(here: Path) -> None:
    os.mkfifo(here / "graph.dot")


def loop(here: Path) -> None:
    (here / "graph.dot").symlink_to("graph.dot")


@pytest.mark.parametrize(
    ("name", "prepare", "over", "error"),
    [
        ("none/graph.dot", None, False, "cannot write none/graph.dot: there is no folder none"),
        ("graph.dot", folder, True, "cannot write graph.dot: it is a folder"),
        ("graph.dot", pipe, True, "cannot write graph.dot: it is no ordinary file"),
        ("graph.dot", pipe, False, "there is a graph.dot: export! graph.dot replaces it"),
        ("graph.dot", loop, True, "cannot write graph.dot: "),
        ("graph.dot", loop, False, "there is a graph.dot"),
        ("~nobody-of-that-name/graph.dot", None, False, "cannot write ~nobody-of-that-name/graph.dot: "),
        ("x" * 300 + ".dot", None, False, "cannot write x.*: File name too long"),
        ("a\0b.dot", None, False, "cannot write "),
        ("graph.svg", None, False, "no format for .svg"),
        ("/sys/graph.dot", None, False, "cannot write /sys/graph.dot: "),
    ],
)
async def test_places_that_cannot_be_written(here: Path, name: str, prepare: Any, over: bool, error: str) -> None:
    if prepare is not None:
        prepare(here)
    before = files(here)
    asked = Asked(PAGE)
    with pytest.raises(UsageError, match=error) as caught:
        await export(asked, name, over=over)
    assert "\n" not in str(caught.value)
    assert files(here) == before
    assert asked.queries == []  # nothing was computed for it


async def test_a_full_disk_leaves_what_was_there(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "graph.dot").write_text("mine")

    def full(_draft: object, _text: str) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(exporting.Draft, "write", full)
    with pytest.raises(UsageError, match=r"cannot write graph\.dot: No space left on device"):
        await export(Asked(PAGE), over=True)
    assert (here / "graph.dot").read_text() == "mine"
    assert len(files(here)) == 1


@pytest.mark.parametrize("links", [True, False])
async def test_a_file_that_comes_to_be_there_meanwhile_is_kept(
    here: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    def no_links(*_paths: object) -> None:
        raise OSError(95, "Operation not supported")

    if not links:
        monkeypatch.setattr(os, "link", no_links)

    class Meanwhile(Asked):
        async def __call__(self, query: Any, progress: Any = None) -> Any:
            if isinstance(query, m.GetGraphEdges):
                (here / "graph.dot").write_text("another's")
            return await super().__call__(query, progress)

    with pytest.raises(UsageError, match=r"there is a graph\.dot"):
        await export(Meanwhile(PAGE))
    assert (here / "graph.dot").read_text() == "another's"
    assert len(files(here)) == 1
    await export(Asked(PAGE), "other.dot")
    assert (here / "other.dot").read_text().startswith("digraph")
    assert len(files(here)) == 2


async def test_a_link_is_followed_and_the_mode_is_kept(here: Path) -> None:
    (here / "real").mkdir()
    target = here / "real" / "graph.dot"
    target.write_text("old")
    target.chmod(0o640)
    (here / "graph.dot").symlink_to(target)
    await export(Asked(PAGE), over=True)
    assert (here / "graph.dot").is_symlink()
    assert target.read_text().startswith("digraph")
    assert target.stat().st_mode & 0o777 == 0o640


async def test_a_new_file_has_the_mode_that_the_user_gives_files(here: Path) -> None:
    (here / "plain").touch()
    await export(Asked(PAGE))
    assert (here / "graph.dot").stat().st_mode == (here / "plain").stat().st_mode


async def test_cancelled_in_the_middle(here: Path) -> None:
    reached = asyncio.Event()

    class Slow(Asked):
        async def __call__(self, query: Any, progress: Any = None) -> Any:
            if len(self.queries) == 2:
                reached.set()
                await asyncio.Event().wait()
            return await super().__call__(query, progress)

    task = asyncio.create_task(export(Slow(replace(PAGE, rows=ROWS[:2]))))
    await reached.wait()
    assert len(files(here)) == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not files(here)


@pytest.mark.parametrize(("rows", "name", "too_much"), [(501, "op", False), (502, "op", True), (300, "o" * 200, True)])
async def test_mermaid_says_when_it_is_too_much_to_draw(here: Path, rows: int, name: str, too_much: bool) -> None:
    page = replace(PAGE, rows=tuple(GraphRow(i, 0, "op", name, "", None, 1, 0, i) for i in range(rows)), total=rows)
    edges = GraphEdges(0, rows - 1, tuple((i, i + 1, 1) for i in range(rows - 1)))
    said = await export(Asked(page, edges=edges), "graph.mmd")
    assert ("(more than Mermaid draws as it comes, 500 edges and 50,000 characters)" in said) == too_much
    assert await export(Asked(page, edges=edges), "graph.dot") == f"graph.dot: {rows} nodes, {rows - 1} edges"


async def test_how_far_it_is_comes_in_order(here: Path) -> None:
    told: list[tuple[str, int, int]] = []

    async def asked(query: Any, progress: Any = None) -> Any:
        if progress is not None:
            progress(m.Working(1, 12_000, 0, "nodes"))
        if isinstance(query, m.GetGraphEdges):
            return EDGES
        return replace(PAGE, offset=query.offset, rows=ROWS[query.offset : query.offset + 2])

    await export_graph(asked, PLAIN, "graph.dot", over=False, tell=lambda *what: told.append(what))
    writing = "exporting graph.dot"
    assert told == [("reading nodes", 12_000, 0), *((writing, done, 7) for done in (3, 5, 7))]


async def test_a_page_takes_no_longer_than_the_eye_notices() -> None:
    """Decoding a page and making text of it happens between two keys: 50 ms of processor time at the median."""
    plain = codec.to_plain(many(m.GetGraph(0, 0, exporting.ROWS)))
    writer = exporting.format_of("graph.json").writer(PAGE, PLAIN, [])
    taken = []
    for _ in range(9):
        begun = time.process_time()
        page = codec.from_plain(GraphPage, plain)
        assert writer.rows(page.rows)
        taken.append(time.process_time() - begun)
    assert sorted(taken)[4] < 0.05
