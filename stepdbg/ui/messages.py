"""Messages that panes post. The app is the one place that answers them: panes never talk to the session."""

from __future__ import annotations

from textual.message import Message

from stepdbg.protocol.graph import Lens
from stepdbg.protocol.messages import Query


class Wanted(Message):
    """A pane shows rows or numbers that the present stop has not been asked for yet.

    Replaceable: while one waits in the queue a newer one of the same kind from the same pane takes its place.
    """

    def __init__(self, query: Query, *, again: bool = False) -> None:
        super().__init__()
        self.query = query
        self.again = again
        """Whether the user asks for what was cancelled at this stop: it is not asked for again otherwise."""

    def can_replace(self, message: Message) -> bool:
        """Whether this one is overtaken by `message`, which is queued behind it."""
        if not isinstance(message, Wanted):
            return False
        return type(message.query) is type(self.query) and self.again <= message.again


class ParameterSelected(Message):
    """The cursor is on a parameter: the values pane follows."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name


class ParametersMarked(Message):
    """A node of the graph is selected: the parameter pane marks those that it leads to. Empty: none."""

    def __init__(self, names: tuple[str, ...]) -> None:
        super().__init__()
        self.names = names


class CopyPath(Message):
    """The way from the root of the graph to the row `index` of this lens is wanted in the clipboard."""

    def __init__(self, index: int, lens: Lens) -> None:
        super().__init__()
        self.index = index
        self.lens = lens


class WatchGradients(Message):
    """Gradients are to be noted at every module call from the next backward on, or no longer."""

    def __init__(self, on: bool) -> None:
        super().__init__()
        self.on = on


class ValuesMessage(Message):
    """What the values pane (or the graph pane, of a module) wants: `ui.values.ValuesCommands` does it."""


class ElementSelected(ValuesMessage):
    """The user moved the cursor to the element `index` of the tensor `name`, as `GetValues` names it."""

    def __init__(self, name: str, index: tuple[int, ...]) -> None:
        super().__init__()
        self.name = name
        self.index = index


class ElementSought(ValuesMessage):
    """The cursor is to go to the "max", "min" or "nan" (first NaN or Inf) of what is shown."""

    def __init__(self, what: str) -> None:
        super().__init__()
        self.what = what


class TensorCopied(ValuesMessage):
    """What is shown is wanted in the clipboard as Python."""


class HeldWanted(ValuesMessage):
    """The next of the tensors that are held inside the phase is to be shown."""


class ModuleMarked(ValuesMessage):
    """What the module of that path puts out is to be kept, or no longer."""

    def __init__(self, module: str) -> None:
        super().__init__()
        self.module = module


class ConsoleInput(Message):
    """The user typed a line (or a control key) for the script's standard input."""

    def __init__(self, data: bytes) -> None:
        super().__init__()
        self.data = data


class ConsoleResized(Message):
    """The console pane has this many columns and rows for the script's terminal."""

    def __init__(self, columns: int, rows: int) -> None:
        super().__init__()
        self.columns = columns
        self.rows = rows


class FrameSelected(Message):
    """The user moved to another frame of the call stack."""

    def __init__(self, number: int, frame: int) -> None:
        super().__init__()
        self.number = number
        """Number of the stop that the stack is of."""
        self.frame = frame
