"""Graphs as text: DOT read by pydot, Mermaid by a small parser written from its grammar, JSON by `json`."""

from __future__ import annotations

import html
import itertools
import json
import re
import time
import tracemalloc
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pydot
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepdbg.errors import UsageError
from stepdbg.export import FORMATS, Edge, Writer, exported, format_of, suggestions
from stepdbg.protocol import codec
from stepdbg.protocol.graph import Flow, GraphChoice, GraphPage, GraphRow, GraphView, Lens, Reach

# ── a graph: loss ← criterion ← net (net.2 ← net.0), net2 not reached; net.0.weight is used twice ──────────────


def row(index: int, depth: int, kind: str, name: str, detail: str = "", **facts) -> GraphRow:
    return replace(GraphRow(index, depth, kind, name, detail, None, 1, 0, None), **facts)


ROWS = (
    row(0, 0, "loss", "loss", "0.6712", shape=()),
    row(1, 1, "module", "criterion", "BCELoss", shape=(), nbytes=1408, dtype="float32", file="/a/train.py", line=10),
    row(2, 1, "module", "net", "Sequential", shape=(32, 1), dtype="float32", nbytes=1152, unfolds=True),
    row(3, 2, "module", "net.2", "Linear", shape=(32, 1), nbytes=768, freed=True, unfolds=True),
    row(5, 3, "parameter", "net.2.weight", marks=("reached", "unowned"), lit=True),
    row(6, 2, "op", "ViewBackward0", shape=(32, 6), marks=("view", "in-place"), seq=12),
    row(7, 2, "module", "net.0", "Linear", shape=(32, 6), flow=Flow(0.5, -1.0, 1.0, 192, 0)),
    row(9, 3, "parameter", "net.0.weight", marks=("shared",)),
    row(10, 3, "tensor", "tensor 4", shape=(32, 4)),
    row(11, 1, "reference", "net.0.weight", "further up", refers_to=9),
    row(12, 0, "section", "who is reached"),
    row(13, 1, "reach", "net", "2 of 2"),
    row(14, 1, "reach", "net2", "0 of 1", cause="never called"),
    row(15, 2, "unreached", "net2.weight", shape=(6, 4), cause="never called"),
)
EDGES: tuple[Edge, ...] = ((3, 6, 1), (0, 1, 1), (1, 3, 2), (3, 5, 1), (2, 9, 1), (6, 7, 1), (7, 9, 3), (7, 10, 1))
PAGE = GraphPage(
    4, 0, len(ROWS), (), "loss", "BinaryCrossEntropyBackward0", 4, True, 14, 17,
    (Reach("net", "Sequential", 2, 2), Reach("net2", "Linear", 0, 1, cause="never called")),
    graph=3, choices=(GraphChoice(3, "loss", "loss BCELoss", 2, 4, True, 14, False),),
    marks=(("reached", 2), ("unreached", 1)),
)  # fmt: skip
DRAWN = {0, 1, 2, 3, 5, 6, 7, 9, 10, 15}
"""Net (2) is a group, and a node too, because an edge leads from it."""


def text(name: str, rows=ROWS, edges=EDGES, page: GraphPage = PAGE, lens: Lens = Lens()) -> str:  # noqa: B008
    return exported(format_of(name).writer(page, lens, edges), rows)


# ── what the files say ──────────────────────────────────────────────────────────────────────────────────────────


@dataclass
class Group:
    """A cluster or subgraph; the outermost one is the file."""

    id: str = ""
    title: str = ""
    nodes: dict[int, str] = field(default_factory=dict)
    """Number and label, with a newline between its lines."""
    groups: list[Group] = field(default_factory=list)
    edges: list[tuple[int, int, str]] = field(default_factory=list)

    def every(self) -> Iterator[Group]:
        todo = [self]
        while todo:
            group = todo.pop()
            yield group
            todo += group.groups

    def labels(self) -> dict[int, str]:
        return {number: label for group in self.every() for number, label in group.nodes.items()}

    def shape(self) -> dict[str, set[int]]:
        return {group.id: set(group.nodes) for group in self.every()}


def of_dot(source: str) -> Group:
    """By pydot, and Graphviz's rules for what stands in a label."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # pydot's own, of how it calls pyparsing
        graphs = pydot.graph_from_dot_data(source)
    assert graphs is not None
    assert len(graphs) == 1

    def label(quoted: str | None) -> str:
        quoted = quoted or '""'
        assert quoted[0] == quoted[-1] == '"'
        meant = {"n": "\n", "\\": "\\", '"': '"'}
        return html.unescape(re.sub(r"\\(.)", lambda found: meant[found[1]], quoted[1:-1]))

    def read(graph: pydot.Graph) -> Group:
        drawn = [node for node in graph.get_nodes() if node.get_name() not in ("graph", "node", "edge")]
        title = next((each["label"] for each in graph.get_graph_defaults() if "label" in each), graph.get("label"))
        nodes = {int(node.get_name().removeprefix("n")): label(node.get("label")) for node in drawn}
        made = Group(graph.get_name().removeprefix("cluster_"), label(title), nodes)
        made.groups = [read(inner) for inner in graph.get_subgraphs()]
        made.edges = [
            (int(e.get_source()[1:]), int(e.get_destination()[1:]), label(e.get("label"))) for e in graph.get_edges()
        ]
        return made

    return read(graphs[0])


_NODE = re.compile(r'n(\d+)(\(\[|\[\(|\(\(|\[|\(|>)"([^"\n]*)"(\]\)|\)\]|\)\)|\]|\)):::(\w+)')
_CLOSES = {"([": "])", "[(": ")]", "((": "))", "[": "]", "(": ")", ">": "]"}
_EDGE = re.compile(r'n(\d+) -->(?:\|"([^"\n]*)"\|)? n(\d+)')
_SUBGRAPH = re.compile(r'subgraph g(\d+) \["([^"\n]*)"\]')


def of_mermaid(source: str) -> Group:
    """By the part of the flowchart grammar that is used: one statement a line, every label quoted.

    Inside quotes anything goes but a quote; `#35;` is a character by its number. What Mermaid rewrites before it
    parses must not occur: `style…:…#…;` loses its semicolon, `%%{` begins a directive, backticks a Markdown string.
    """
    front, _, body = source.removeprefix("---\n").partition("\n---\n")
    title = json.loads(front.removeprefix("title: "))
    lines = body.splitlines()
    assert lines[0] == "flowchart TD"
    for line in lines:
        assert not re.search(r"style.*:\S*#.*;|classDef.*:\S*#.*;", line)
    top = Group(title=title)
    open_groups = [top]
    known = set()

    def label(coded: str) -> str:
        assert not re.search(r"[`<>]|%%", coded.replace("<br/>", ""))
        assert "#" not in re.sub(r"#\d+;", "", coded)
        return re.sub(r"#(\d+);", lambda found: chr(int(found[1])), coded.replace("<br/>", "\n"))

    for line in map(str.strip, lines[1:]):
        if line.startswith("classDef "):
            known.add(line.split()[1])
        elif line == "end":
            open_groups.pop()
        elif found := _SUBGRAPH.fullmatch(line):
            group = Group(found[1], label(found[2]))
            open_groups[-1].groups.append(group)
            open_groups.append(group)
        elif found := _NODE.fullmatch(line):
            assert _CLOSES[found[2]] == found[4]
            assert found[5] in known
            open_groups[-1].nodes[int(found[1])] = label(found[3])
        else:
            found = _EDGE.fullmatch(line)
            assert found is not None, line
            top.edges.append((int(found[1]), int(found[3]), label(found[2] or "")))
    assert open_groups == [top]
    return top


READERS = {"g.dot": of_dot, "g.mmd": of_mermaid}
drawings = pytest.mark.parametrize("name", READERS)


# ── what is drawn ───────────────────────────────────────────────────────────────────────────────────────────────


@drawings
def test_unfolded_modules_are_groups_with_what_is_in_them(name: str) -> None:
    top = READERS[name](text(name))
    shape = top.shape()
    top_id = top.id
    assert shape == {top_id: {0, 1}, "2": {2, 6}, "3": {3, 5}, "7": {7, 9, 10}, "14": {15}}
    inside = {group.id: {inner.id for inner in group.groups} for group in top.every()}
    assert inside == {top_id: {"2", "14"}, "2": {"3", "7"}, "3": set(), "7": set(), "14": set()}
    assert {group.title for group in top.every()} >= {
        "net Sequential\n32×1 float32 · 1.1 KiB kept",
        "net.2 Linear\n32×1 · 768 B freed",
        "net.0 Linear\n32×6",
        "net2 0 of 1\nnever called",
    }


@drawings
def test_a_cause_is_told_once(name: str) -> None:
    several = (
        row(0, 0, "reach", "net", "0 of 2"),
        row(1, 1, "unreached", "net.a", cause="its output is not used", marks=("unreached", "unused")),
        row(2, 1, "unreached", "net.b", cause="called under no_grad", marks=("unreached", "shared")),
    )
    assert READERS[name](text(name, several, [])).labels() == {
        1: "net.a\nunused\nits output is not used",
        2: "net.b\nshared\ncalled under no_grad",
    }


@drawings
def test_every_edge_is_there_with_its_count(name: str) -> None:
    top = READERS[name](text(name))
    assert top.edges == [(a, b, f"×{n}" if n > 1 else "") for a, b, n in sorted(EDGES)]
    assert {end for edge in top.edges for end in edge[:2]} <= set(top.labels())


@drawings
def test_labels_say_name_op_shape_bytes_and_marks(name: str) -> None:
    labels = READERS[name](text(name)).labels()
    assert set(labels) == DRAWN
    assert labels[0] == "loss\n0.6712\nscalar"
    assert labels[1] == "criterion\nBCELoss\nscalar float32 · 1.4 KiB kept"
    assert labels[3] == "net.2\nLinear"  # the rest is in its group
    assert labels[5] == "net.2.weight\nunowned"
    assert labels[6] == "ViewBackward0\n32×6\nview, in-place"
    assert labels[15] == "net2.weight\n6×4"


@drawings
def test_a_module_that_no_edge_mentions_is_only_a_group(name: str) -> None:
    edges = [edge for edge in EDGES if 2 not in edge[:2]]
    assert set(READERS[name](text(name, edges=edges)).labels()) == DRAWN - {2}


@drawings
def test_a_folded_module_is_a_node_with_its_bytes(name: str) -> None:
    folded = (ROWS[0], ROWS[1], ROWS[2])
    top = READERS[name](text(name, folded, [(0, 1, 1), (1, 2, 1)]))
    assert top.groups == []
    assert top.labels()[2] == "net\nSequential\n32×1 float32 · 1.1 KiB kept"


@drawings
def test_a_reference_is_drawn_where_an_edge_leads_to_it(name: str) -> None:
    labels = READERS[name](text(name, edges=(*EDGES, (0, 11, 1)))).labels()
    assert set(labels) - DRAWN == {11}
    assert labels[11] == "↑ net.0.weight\nfurther up"


@drawings
def test_a_raw_graph_has_no_groups_however_deep_it_is(name: str) -> None:
    rows = [row(i, i, "op", f"AddBackward{i}") for i in range(300)]
    edges = [(i, i + 1, 1) for i in range(299)]
    top = READERS[name](text(name, rows, edges, lens=Lens(view=GraphView.RAW)))
    assert top.groups == []
    assert len(top.nodes) == 300
    assert len(top.edges) == 299


@drawings
def test_modules_within_modules_close_in_order(name: str) -> None:
    rows = [row(i, i, "module", f"m{i}") for i in range(9)] + [row(9, 1, "op", "X"), row(10, 0, "op", "Y")]
    top = READERS[name](text(name, rows, [(9, 10, 1)]))
    assert top.shape() == {top.id: {10}, "0": {9}, **{str(i): set() for i in range(1, 7)}, "7": {8}}


@drawings
def test_the_caption_says_what_it_is_a_picture_of(name: str) -> None:
    title = READERS[name](text(name, lens=Lens(pattern="net"))).title
    for words in (
        "loss BCELoss: 14 nodes, 17 edges, freed by backward (by modules)",
        "only what matches net",
        "reaches net 2 of 2 · net2 0 of 1 (never called)",
    ):
        assert words in title
    many = replace(PAGE, reach=tuple(Reach(f"net{i}", "Linear", 1, 1) for i in range(1000)))
    assert "and 988 more" in READERS[name](text(name, page=many)).title


def test_the_paths_that_are_lit_stand_out_and_places_are_told() -> None:
    source = text("g.dot")
    assert re.search(r"n5 \[.*penwidth=2", source)
    assert 'tooltip="/a/train.py:10"' in source


@pytest.mark.parametrize("name", ["g.dot", "g.mmd", "g.md", "g.json"])
def test_the_same_graph_gives_the_same_text(name: str) -> None:
    assert text(name) == text(name, edges=reversed(EDGES))
    assert text(name).endswith("\n")


def test_markdown_is_mermaid_in_a_fence() -> None:
    lines = text("g.md").splitlines(keepends=True)
    assert lines[0] == "```mermaid\n"
    assert lines[-1] == "```\n"
    assert "".join(lines[1:-1]) == text("g.mmd")
    assert sum(line.startswith("```") for line in lines) == 2


# ── escaping ────────────────────────────────────────────────────────────────────────────────────────────────────

TRAPS = (
    'a"b', "end", "x;y", "#35;", 'style:"q";', "classDef a:#1;", 'A["x"]', "`code`", "```", "<lambda>", "1. one",
    "- item", "__init__", "&amp;", "&lt", "back\\slash", "\\N", "\\", "{a|b}", "%%{init}%%", "-->", "o--x", "日本語",
    "fa:fa-car", "graph", "subgraph", "click", "*bold*", "a\nb", "nul\x00", "\ud800", "--- ", "é", "'", "//",
)  # fmt: skip


def shown(name: str) -> str:
    """What can be shown of a name: what no text file may hold is replaced."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in name)


@drawings
@pytest.mark.parametrize("trap", TRAPS)
def test_a_name_with_a_meaning_stays_a_name(name: str, trap: str) -> None:
    rows = (row(0, 0, "module", trap, trap), row(1, 1, "op", trap), row(2, 1, "parameter", trap, file=trap, line=3))
    page = replace(PAGE, root=trap, choices=(), reach=(Reach(trap, "X", 1, 1, cause=trap),))
    top = READERS[name](text(name, rows, [(0, 1, 1), (1, 2, 1)], page, Lens(pattern=trap)))
    said = shown(trap)
    stripped = said.strip() if name == "g.mmd" else said
    assert top.labels() == {0: f"{stripped}\n{stripped}", 1: stripped, 2: stripped}
    assert [group.title.strip() for group in top.groups] == [f"{said} {said}".strip()]
    assert said in top.title


@drawings
@settings(max_examples=200, deadline=None)
@given(
    names=st.lists(
        st.one_of(
            st.text(min_size=1, max_size=12),
            st.lists(st.sampled_from([*TRAPS, " ", "a", "1"]), min_size=1, max_size=4).map("".join),
        ),
        min_size=1,
        max_size=6,
    )
)
def test_any_name_can_be_read_back(name: str, names: list[str]) -> None:
    rows = [row(i, 0, "op", each) for i, each in enumerate(names)]
    source = text(name, rows, [])
    source.encode("utf-8")
    labels = READERS[name](source).labels()
    assert {i: each.strip() for i, each in labels.items()} == {i: shown(each).strip() for i, each in enumerate(names)}


# ── JSON ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_json_has_every_fact_of_every_row() -> None:
    read = json.loads(text("g.json", lens=Lens(pattern="net", view=GraphView.RAW, selected="net.0.weight")))
    assert read["version"] == 1
    assert tuple(codec.from_plain(GraphRow, node) for node in read["nodes"]) == ROWS
    assert [(e["from"], e["to"], e["count"]) for e in read["edges"]] == sorted(EDGES)
    assert tuple(codec.from_plain(Reach, each) for each in read["reach"]) == PAGE.reach
    assert codec.from_plain(GraphChoice, read["graph"]) == PAGE.choices[0]
    assert (read["counts"], read["marks"]) == ({"nodes": 14, "edges": 17}, {"reached": 2, "unreached": 1})
    assert (read["view"], read["filter"], read["selected"]) == ("raw", "net", "net.0.weight")
    assert (read["stop"], read["recorded_at"], read["freed"]) == (4, 4, True)


def test_json_is_strict_where_numbers_are_not_finite() -> None:
    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    rows = (row(0, 0, "op", "X", flow=Flow(float("inf"), float("-inf"), float("nan"), 3, 2)),)
    read = json.loads(text("g.json", rows, []), parse_constant=refuse)
    flow = read["nodes"][0]["flow"]
    assert (flow["norm"], flow["min"], flow["max"], flow["nonfinite"]) == ("inf", "-inf", "nan", 2)


def test_json_of_nothing_is_json() -> None:
    read = json.loads(text("g.json", (), (), replace(PAGE, choices=())))
    assert (read["nodes"], read["edges"], read["graph"]) == ([], [], None)


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=20))
def test_json_keeps_any_name(name: str) -> None:
    source = text("g.json", (row(0, 0, "op", name),), [])
    assert json.loads(source.encode("utf-8"))["nodes"][0]["name"] == name


def test_every_key_is_documented() -> None:
    page = (Path(__file__).parents[2] / "docs" / "export.md").read_text(encoding="utf-8")
    _text, tables = page.split("## The JSON")
    read = json.loads(text("g.json"))
    inner = read["nodes"][6]["flow"].keys() | read["reach"][0].keys()
    assert not [key for key in {*read, *read["nodes"][0], *inner} if f"`{key}`" not in tables]


# ── pages and size ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["g.dot", "g.mmd", "g.md", "g.json"])
@given(cuts=st.lists(st.integers(0, len(ROWS)), max_size=5))
@settings(max_examples=30, deadline=None)
def test_pages_make_no_difference(name: str, cuts: list[int]) -> None:
    writer = format_of(name).writer(PAGE, Lens(), EDGES)
    bounds = [0, *sorted(cuts), len(ROWS)]
    pages = [writer.rows(ROWS[a:b]) for a, b in itertools.pairwise(bounds)]
    assert "".join([writer.begin(), *pages, *writer.end()]) == text(name)
    assert writer.edges == len(EDGES)
    assert writer.nodes == (len(ROWS) if name == "g.json" else len(DRAWN))


def seconds(make: type[Writer], count: int) -> float:
    """Process time of writing a graph of that many rows; the text is dropped piece by piece, as a file takes it."""
    rows = [row(i, i % 7, "module" if i % 5 == 0 else "op", f"layer.{i}", "Linear", shape=(32, 6)) for i in range(1000)]
    edges = [(i, i + 1, 1) for i in range(count - 1)]
    begun = time.process_time()
    writer = make(PAGE, Lens(), edges)
    size = len(writer.begin())
    for first in range(0, count, 1000):
        size += len(writer.rows(replace(each, index=first + each.index) for each in rows))
    size += sum(map(len, writer.end()))
    assert size > 60 * count
    assert writer.edges == count - 1
    return time.process_time() - begun


@pytest.mark.parametrize("kind", FORMATS, ids=lambda kind: kind.name)
def test_ten_times_the_rows_take_about_ten_times_as_long(kind) -> None:
    small = min(seconds(kind.writer, 5_000) for _ in range(3))
    assert seconds(kind.writer, 50_000) < 40 * small


def test_text_is_not_kept() -> None:
    count = 50_000
    edges = [(i, i + 1, 1) for i in range(count - 1)]
    writer = format_of("g.dot").writer(PAGE, Lens(), edges)
    writer.begin()
    written = 0
    tracemalloc.start()
    try:
        for first in range(0, count, 500):
            written += len(writer.rows(row(first + i, 1, "op", f"AddmmBackward{i}") for i in range(500)))
        written += sum(map(len, writer.end()))
        _now, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < written / 10


# ── formats ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("graph.dot", "Graphviz DOT"),
        ("a/b.c/graph.GV", "Graphviz DOT"),
        ("graph.mmd", "Mermaid"),
        ("graph.mermaid", "Mermaid"),
        ("README.md", "Mermaid in Markdown"),
        ("my graph.json", "JSON"),
    ],
)
def test_the_suffix_decides(name: str, kind: str) -> None:
    assert format_of(name).name == kind
    assert suggestions(name) == [name]


@pytest.mark.parametrize("name", ["graph", "graph.png", ".dot", "graph.", "dir.dot/graph", ""])
def test_another_suffix_is_refused_with_the_right_forms(name: str) -> None:
    with pytest.raises(UsageError, match=r"(graph|dot)\.dot, ") as caught:
        format_of(name)
    assert "\n" not in str(caught.value)
