"""Exports of real graphs, against a recount of the same graph by the test."""

from __future__ import annotations

import json
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import pydot
import pytest
import torch
from real_runs import Driver, running
from test_true_numbers import TwoNets

from stepdbg.protocol.records import Phase


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The screen's working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


async def says(driver: Driver, line: str, words: str) -> str:
    """Enter `line` at the prompt and wait for one notice with these words."""
    await driver.press("colon")  # takes away what was told before
    driver.app.main.prompt.input.value = line
    await driver.press("enter")

    def new() -> list[str]:
        return [notice.message for notice in driver.app._notifications]

    await driver.until(lambda: [text for text in new() if words in text], f"{line!r} is answered with {words!r}")
    (text,) = new()
    return text


async def enter(driver: Driver, line: str) -> None:
    await driver.press("colon")
    driver.app.main.prompt.input.value = line
    await driver.press("enter")
    await driver.settled()


async def before_backward(driver: Driver) -> None:
    await driver.step_until(lambda stop: stop.next is not None and stop.next.phase is Phase.BACKWARD, "before backward")


def recount(root: Any) -> tuple[Counter[str], int, set[int]]:
    """Kinds of the nodes that `next_functions` lead to, the number of edges, and ids of the leaves."""
    kinds: Counter[str] = Counter()
    edges, leaves, seen, todo = 0, set(), {root}, [root]
    while todo:
        node = todo.pop()
        kinds[node.name()] += 1
        if hasattr(node, "variable"):
            leaves.add(id(node.variable))
        for child, _input in node.next_functions:
            if child is not None:
                edges += 1
                if child not in seen:
                    seen.add(child)
                    todo.append(child)
    return kinds, edges, leaves


@pytest.fixture
def truth() -> tuple[Counter[str], int, set[str]]:
    """The graph of the first loss of `two_nets.py`: kinds of nodes, edges, names of the parameters."""
    nets = TwoNets()
    loss = nets.criterion(nets.net(nets.x), nets.y)
    assert loss.requires_grad
    kinds, edges, leaves = recount(loss.grad_fn)
    return kinds, edges, {name for name, p in nets.parameters().items() if id(p) in leaves}


def drawn_as_a_graph(read: dict[str, Any]) -> None:
    """Every edge is between rows of the file, and every row of the graph is reached from the first."""
    rows = {row["index"]: row for row in read["nodes"]}
    after: dict[int, list[int]] = {}
    for edge in read["edges"]:
        assert {edge["from"], edge["to"]} <= set(rows)
        after.setdefault(edge["from"], []).append(edge["to"])
    found, todo = {0}, [0]
    while todo:
        for index in after.get(todo.pop(), ()):
            if index not in found:
                found.add(index)
                todo.append(index)
    leaves = {index for index, row in rows.items() if row["kind"] in ("op", "parameter", "tensor")}
    assert leaves <= found


async def test_every_node_and_edge_of_the_raw_graph(here: Path, truth: Any) -> None:
    kinds, edges, names = truth
    async with running("two_nets") as driver:
        await before_backward(driver)
        await enter(driver, "view raw")
        await enter(driver, "fold none")
        await says(driver, "export raw.json", "raw.json: ")
        read = json.loads((here / "raw.json").read_text())
        rows = read["nodes"]
        assert read["counts"] == {"nodes": kinds.total(), "edges": edges}
        assert Counter(row["name"] for row in rows if row["kind"] == "op") == {
            kind: count for kind, count in kinds.items() if "AccumulateGrad" not in kind
        }
        assert {row["name"] for row in rows if row["kind"] == "parameter"} == names
        assert {row["name"] for row in rows if row["kind"] == "unreached"} <= {f"net2.{n}" for n in ("0", "2")} | {
            f"net2.{n}.{what}" for n in ("0", "2") for what in ("weight", "bias")
        }
        inner = [edge for edge in read["edges"] if edge["from"] != 0]
        from_root = [edge for edge in read["edges"] if edge["from"] == 0]
        assert sum(edge["count"] for edge in inner) == edges
        assert len(from_root) == 1
        drawn_as_a_graph(read)


async def test_modules_are_groups_and_folding_folds(here: Path) -> None:
    async with running("two_nets") as driver:
        await before_backward(driver)
        sizes = {}
        for fold in ("all", "default", "none"):
            await enter(driver, f"fold {fold}")
            await says(driver, f"export {fold}.json", f"{fold}.json: ")
            read = json.loads((here / f"{fold}.json").read_text())
            drawn_as_a_graph(read)
            sizes[fold] = len(read["nodes"])
        assert sizes["all"] < sizes["default"] < sizes["none"]
        said = await says(driver, "export none.dot", "none.dot: ")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # pydot's own, of how it calls pyparsing
            (graph,) = pydot.graph_from_dot_data((here / "none.dot").read_text()) or ()
        titles = {inner.get("label") for inner in clusters(graph)}
        assert {title.strip('"').split()[0] for title in titles} >= {"net", "net.0", "net.2"}
        assert f", {len(graph.get_edges())} edges" in said


def clusters(graph: pydot.Graph) -> list[pydot.Subgraph]:
    found, todo = [], [graph]
    while todo:
        inner = todo.pop().get_subgraphs()
        found += inner
        todo += inner
    return found


@pytest.mark.parametrize("name", ["g.dot", "g.mmd", "g.md", "g.json"])
async def test_the_same_stop_gives_the_same_file(here: Path, name: str) -> None:
    async with running("two_nets") as driver:
        await before_backward(driver)
        await says(driver, f"export {name}", f"{name}: ")
        first = (here / name).read_bytes()
        await says(driver, f"export! {name}", f"{name}: ")
        assert (here / name).read_bytes() == first


async def test_after_backward_it_is_marked_as_freed(here: Path) -> None:
    async with running("two_nets") as driver:
        await before_backward(driver)
        await driver.step()
        await says(driver, "export g.json", "g.json: ")
        read = json.loads((here / "g.json").read_text())
        assert read["freed"]
        assert read["recorded_at"] == read["stop"] - 1
        assert any(row["freed"] for row in read["nodes"] if row["kind"] == "module")


async def test_watched_gradients_are_in_the_file(here: Path) -> None:
    # Before the app runs: a backward in this thread would wait for the script, which waits for this thread.
    bare = TwoNets()
    bare.criterion(bare.net(bare.x), bare.y).backward()
    async with running("two_nets") as driver:
        await before_backward(driver)
        await says(driver, "watch grads", "gradients")
        await driver.settled()
        assert driver.view.watching is not None
        assert driver.view.watching.gradients
        await driver.step()
        await says(driver, "export g.json", "g.json: ")
        read = json.loads((here / "g.json").read_text())
        norms = {row["name"]: row["flow"]["norm"] for row in read["nodes"] if row["flow"]}
        for name, parameter in bare.net.named_parameters():
            assert parameter.grad is not None
            assert norms[f"net.{name}"] == pytest.approx(float(torch.linalg.vector_norm(parameter.grad)), rel=1e-5)


async def test_marks_filter_the_parameters(here: Path) -> None:
    async with running("two_nets") as driver:
        await before_backward(driver)
        await driver.press("2")
        await enter(driver, "search is:unreached")
        listing = driver.now.parameters
        assert listing is not None
        assert listing.pattern == "is:unreached"
        assert {row.name for row in listing.rows.values()} == {
            n for n in TwoNets().parameters() if n.startswith("net2")
        }
        assert listing.total == 4
