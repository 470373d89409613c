"""A tiny app around one pane, and views made by hand: the two_nets demo before its first optimizer step."""

from dataclasses import replace

import fake_graph
from textual.app import App
from textual.reactive import reactive

from stepdbg.client import store
from stepdbg.client.session import SessionInfo
from stepdbg.client.store import GraphTree, ParameterList, Recorded, Status, View
from stepdbg.protocol.graph import PLAIN, GraphPage, GraphRow, Reach
from stepdbg.protocol.memory import MemoryRecord
from stepdbg.protocol.messages import GetGraph, Query
from stepdbg.protocol.parameters import Arrangement
from stepdbg.protocol.records import (
    Frame,
    ParameterRow,
    Phase,
    PhaseRun,
    SourceText,
    StopReason,
    StopRecord,
    TensorStats,
    TensorView,
    ValuesRecord,
)
from stepdbg.ui.messages import Wanted
from stepdbg.ui.panes.pane import Pane
from stepdbg.ui.theme import DARK, LIGHT

INFO = SessionInfo("two_nets.py", ("python", "two_nets.py"), "/usr/bin/python")
FILE = "/home/ada/two_nets.py"
TEXT = "import torch\n\n\ndef main():\n    x = torch.rand(4)\n    loss.backward()\n    optimiser.step()\n\n\nmain()\n"


class Host(App):
    """Shows one pane; `said` holds what it posted, oldest first."""

    CSS = "Screen { layout: vertical; }"
    view: reactive[View | None] = reactive(None)
    selected: reactive[str] = reactive("")
    marked: reactive[frozenset[str]] = reactive(frozenset())

    def __init__(self, pane: Pane, view: View | None = None, selected: str = "", theme: str = "dark") -> None:
        super().__init__()
        self.register_theme(DARK)
        self.register_theme(LIGHT)
        self.theme = f"stepdbg-{theme}"
        self.pane = pane
        self.said = []
        self.set_reactive(Host.view, view)
        self.set_reactive(Host.selected, selected)

    def compose(self):
        yield self.pane.data_bind(Host.view, Host.selected, Host.marked)

    def wanted(self) -> list[Query]:
        return [message.query for message in self.said if isinstance(message, Wanted)]

    def on_wanted(self, message):
        self.said.append(message)

    def on_parameter_selected(self, message):
        self.said.append(message)

    def on_parameters_marked(self, message):
        self.said.append(message)

    def on_copy_path(self, message):
        self.said.append(message)

    def on_watch_gradients(self, message):
        self.said.append(message)

    def on_element_selected(self, message):
        self.said.append(message)

    def on_element_sought(self, message):
        self.said.append(message)

    def on_tensor_copied(self, message):
        self.said.append(message)

    def on_module_marked(self, message):
        self.said.append(message)

    def on_console_input(self, message):
        self.said.append(message)

    def on_console_resized(self, message):
        self.said.append(message)


def texts(widget) -> list[str]:
    """What a line-API widget draws, line by line."""
    return [widget.render_line(y).text.rstrip() for y in range(widget.size.height)]


def stop(number=5, **changes) -> StopRecord:
    frames = (
        Frame("/lib/torch/optim/optimizer.py", 500, "wrapper", False),
        Frame(FILE, 7, "main", True),
        Frame(FILE, 10, "<module>", True),
    )
    made = StopRecord(
        number, StopReason.STEP, 1, 1, (PhaseRun(Phase.BACKWARD, "net"),), PhaseRun(Phase.STEP, "optimiser", "SGD"),
        (), (), None, frames, 1, "MainThread", 0.1, None,
    )  # fmt: skip
    return replace(made, **changes)


def parameter(name, shape=(6, 4), **changes) -> ParameterRow:
    numel = 1
    for size in shape:
        numel *= size
    made = ParameterRow(
        name, (), shape, "float32", "cpu", numel, numel * 4, True, "optimiser[0]", "SGD", 1.412, 0.0312, "dense",
        False, True, reached=True,
    )  # fmt: skip
    return replace(made, **changes)


def two_nets() -> tuple[ParameterRow, ...]:
    unused = {
        "grad": "none",
        "grad_norm": None,
        "grad_changed": False,
        "reached": False,
        "owner": "",
        "owner_kind": "",
    }
    return (
        parameter("net.0.weight", (6, 4)),
        parameter("net.0.bias", (6,), value_norm=0.5023, value_changed=True),
        parameter("net.2.weight", (1, 6), value_norm=0.733, grad_norm=0.2101, grad_label="clipped"),
        parameter("net.2.bias", (1,), value_norm=0.118, grad_nonfinite=1, grad_norm=0.0),
        parameter("net2.0.weight", (6, 4), **unused),
        parameter("net2.0.bias", (6,), requires_grad=False, **unused),
        parameter("net2.2.weight", (1, 6), value_changed=None, **{**unused, "grad_changed": None}),
        parameter("net2.2.bias", (1,), **unused),
    )


STEPS = Arrangement(columns=("norm", "g.norm", "delta"))
"""What the pane asks for with the columns as at first, where there is room."""


def listing(rows, pattern="", gone="", arrangement=STEPS) -> ParameterList:
    return ParameterList(pattern, len(rows), 8, dict(enumerate(rows)), gone, arrangement=arrangement)


class GraphHost(Host):
    """Answers what the graph pane asks, like the app and the agent together: `page` makes the answers."""

    def __init__(self, pane: Pane, page=fake_graph.page, selected: str = "", number: int = 4, **changes) -> None:
        super().__init__(pane, view(Recorded(stop(number), parameters=listing(two_nets())), **changes), selected)
        self.page = page
        self.held: list[GetGraph] | None = None
        """What was asked while a test holds the answers back."""

    # Textual calls the base class's handlers as well.
    def on_wanted(self, message):
        if self.held is None:
            self.answer(message.query)
        else:
            self.held.append(message.query)

    def answer(self, query):
        now = self.view.history[-1].stop.number
        self.view = store.apply_answer(self.view, now, query, self.page(query, now))

    def on_parameter_selected(self, message):
        self.selected = message.name

    def arrive(self, number: int) -> None:
        """The next stop, with what the pane wants to know of it, as the app shows it."""
        record = stop(number)
        after = replace(self.view, history=(*self.view.history, Recorded(record)))
        for query in self.pane.wishes(record):
            self.said.append(Wanted(query))
            after = store.apply_answer(after, number, query, self.page(query, number))
        self.view = after


def graph_rows() -> tuple[GraphRow, ...]:
    row = GraphRow
    return (
        row(0, 0, "loss", "loss 0.6712", "BCELoss", (), 12, 8, 40, 128),
        row(1, 1, "module", "net.3", "Sigmoid", (32, 1), 1, 7, 38, 128),
        row(2, 2, "module", "net.2", "Linear", (32, 1), 5, 6, 36, 768),
        row(3, 3, "parameter", "net.2.bias", "", (1,), 1, 0, None),
        row(4, 3, "parameter", "net.2.weight", "", (1, 6), 1, 0, None),
        row(5, 3, "module", "net.0", "Linear", (32, 6), 4, 3, 30, 512),
        row(6, 4, "parameter", "net.0.bias", "", (6,), 1, 0, None),
        row(7, 4, "tensor", "x", "", (32, 4), 1, 0, None),
        row(8, 4, "parameter", "net.0.weight", "", (6, 4), 1, 0, None),
    )


def graph(rows=None, lens=PLAIN, seek="", **changes) -> GraphTree:
    rows = graph_rows() if rows is None else rows
    reach = (Reach("net", "Sequential", 4, 4), Reach("net2", "Sequential", 0, 4))
    page = GraphPage(5, 0, len(rows), rows, "loss", "BinaryCrossEntropyBackward0", 4, False, 12, 14, reach)
    return GraphTree(lens, replace(page, **changes), dict(enumerate(rows)), seek)


def tensor(rows=6, columns=4, row=0, column=0, received=None, **changes) -> TensorView:
    stats = TensorStats(
        rows * columns, -0.0121, 0.0187, 0.0004, 0.0062, 0.0312, 3, 0, 0, 0,
        (1, 3, 0, 9, 14, 22, 17, 8, 4, 1), -0.0121, 0.0187,
    )  # fmt: skip
    down, across = received or (min(rows, 64), min(columns, 32))
    cells = tuple(
        tuple(f"{(r * 7 + c) % 11 / 100 - 0.04:.4g}" for c in range(column, min(column + across, columns)))
        for r in range(row, min(row + down, rows))
    )
    made = TensorView((rows, columns), "float32", "cpu", rows * columns * 4, stats, rows, columns, row, column, cells)
    return replace(made, **changes)


def values(name="net.0.weight", value=None, **changes) -> ValuesRecord:
    made = ValuesRecord(5, name, value or tensor(), tensor(), "")
    return replace(made, **changes)


def memory(number=5, **changes) -> MemoryRecord:
    return replace(MemoryRecord(number, 296, 148, 4, 0, 0, 1408, 1, own_limit=256 << 20), **changes)


def view(*recorded: Recorded, status=Status.STOPPED, **changes) -> View:
    sources = {FILE: SourceText(FILE, TEXT, False)}
    return replace(View(INFO, status=status, history=recorded, sources=sources), **changes)


def full(**changes) -> Recorded:
    record = Recorded(
        stop(), 231 << 20, memory(), listing(two_nets()), graph(), {"net.0.weight": values()},
    )  # fmt: skip
    return replace(record, **changes)
