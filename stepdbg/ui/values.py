"""What the commands on single tensors do, and what the values pane asks of the app."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from stepdbg.commands.exporting import Ask
from stepdbg.commands.values import PLACES, SIDES
from stepdbg.errors import RequestError, SessionClosedError
from stepdbg.protocol.messages import CopyValues, MarkModule, Query, SeekElement
from stepdbg.protocol.naming import plain
from stepdbg.protocol.slices import SliceError, against, read_index, read_slice
from stepdbg.protocol.values import ElementFound, MarkedModules, PythonText
from stepdbg.ui import format as fmt
from stepdbg.ui.messages import ElementSelected, ElementSought, HeldWanted, ModuleMarked, TensorCopied, ValuesMessage
from stepdbg.ui.panes.values import ValuesPane

if TYPE_CHECKING:
    from stepdbg.ui.app import StepdbgApp

GONE = "the script has gone on, or ended"
WHAT = {"max": "the largest element", "min": "the smallest element", "nan": "the first NaN or Inf"}


class ValuesCommands:
    """The app's part for single tensors (`commands.command.ValuesHost`)."""

    def __init__(self, app: StepdbgApp, ask: Ask) -> None:
        self._app = app
        self._ask = ask
        """Asks the session that there is."""

    @property
    def _pane(self) -> ValuesPane:
        return self._app.main.query_one(ValuesPane)

    def _say(self, text: str, *, wrong: bool = False) -> None:
        self._app.notify(text, severity="warning" if wrong else "information", markup=False)

    def _bring(self) -> None:
        """Bring the pane on screen where only one is."""
        if self._app.main.single:
            self._app.focus_pane(ValuesPane.NUMBER)

    def take(self, message: ValuesMessage) -> None:
        """Do what a pane wants."""
        if isinstance(message, ElementSelected):
            if message.name == self._app.selected:
                self._app.element = message.index
        elif isinstance(message, ElementSought):
            self.go_to(message.what)
        elif isinstance(message, HeldWanted):
            self._app.inside.next_held()
        elif isinstance(message, TensorCopied):
            self.copy()
        elif isinstance(message, ModuleMarked):
            self._app.run_worker(self._mark(MarkModule(0, message.module, None)), group="values")

    # ── how it is shown ─────────────────────────────────────────────────────────────────────────────────────

    def show(self, expression: str) -> None:
        """Another tensor; "-": the selected parameter."""
        pane = self._pane
        name = "" if expression == "-" else expression.strip()
        if not name:
            pane.show_parameter()
        if name and name == pane.look.expression:
            pane.action_evaluate()
        pane.change(replace(pane.look, expression=name))
        self._bring()

    def slice(self, text: str) -> None:
        """Another part of the tensor, if it has such a part."""
        pane = self._pane
        shape = self._shape()
        if shape is None:
            self._say("slice: no tensor is shown", wrong=True)
            return
        try:
            wanted = read_slice(text)
            against(wanted, shape)
        except SliceError as error:
            self._say(f"slice: {error}", wrong=True)
            return
        pane.change(pane.look.sliced(pane.subject, str(wanted)))
        self._bring()

    def display(self, display: str) -> None:
        """That display, or the next one."""
        if display:
            self._pane.change(replace(self._pane.look, display=display))
        else:
            self._pane.action_display()
        self._bring()

    def precision(self, digits: int) -> None:
        """So many significant digits."""
        self._pane.change(replace(self._pane.look, precision=digits))
        self._bring()

    def _shape(self) -> tuple[int, ...] | None:
        """The shape that indices of what is shown count in; None where nothing is."""
        record, tensor = self._pane.record, self._pane.body.tensor
        if record is None or tensor is None or record.name != self._pane.subject:
            return None
        return (tensor.shape or ()) if tensor.indexed is None else tensor.indexed

    # ── single elements ─────────────────────────────────────────────────────────────────────────────────────

    def go_to(self, place: str) -> None:
        """An index, or one of PLACES and of which side."""
        pane, shape = self._pane, self._shape()
        if shape is None:
            self._say("goto: no tensor is shown", wrong=True)
            return
        self._bring()
        word, _, side = place.partition(" ")
        if word in PLACES:
            which = SIDES[side.strip() or "value"]
            query = SeekElement(0, pane.subject, word, pane.look.slice(pane.subject), which)
            self._app.run_worker(self._seek(query), group="seeking", exclusive=True)
            return
        try:
            index = read_index(place, shape)
        except SliceError as error:
            self._say(f"goto: {error}", wrong=True)
            return
        if why := pane.go_to(index):
            self._say(f"goto: {why}", wrong=True)

    async def _seek(self, query: SeekElement) -> None:
        found = await self._asked("goto", query)
        if isinstance(found, ElementFound) and query.name == self._pane.subject:
            why = self._pane.go_to(found.index)
            value = found.value.replace("-", fmt.MINUS)
            place = f"{WHAT[query.what]}: {value} at [{', '.join(map(str, found.index))}]"
            self._say(f"goto: {why}" if why else place, wrong=bool(why))

    # ── text ────────────────────────────────────────────────────────────────────────────────────────────────

    def copy(self) -> None:
        """Put what is shown into the clipboard, as Python."""
        if self._shape() is None:
            self._say("copy: no tensor is shown", wrong=True)
            return
        pane = self._pane
        query = CopyValues(0, pane.subject, pane.look.slice(pane.subject))
        self._app.run_worker(self._copy(query), group="values")

    async def _copy(self, query: CopyValues) -> None:
        made = await self._asked("copy", query)
        if isinstance(made, PythonText):
            self._app.copy_to_clipboard(made.text)
            of = "" if made.copied == made.numel else f" of {made.numel:,}, the first ones, flat"
            note = f" ({made.note})" if made.note else ""
            self._say(f"copied as Python: {fmt.plural(made.copied, 'element')}{of}{note}")

    # ── outputs of modules ──────────────────────────────────────────────────────────────────────────────────

    def mark(self, module: str, *, on: bool) -> None:
        """Keep what it puts out, or no longer; empty: say which are kept."""
        self._app.run_worker(self._mark(MarkModule(0, module, on)), group="values")

    async def _mark(self, query: MarkModule) -> None:
        answer = await self._asked("mark" if query.on is not False else "unmark", query)
        if isinstance(answer, MarkedModules):
            self._say(marked(query.module, answer))

    async def _asked(self, what: str, query: Query) -> object:
        """The answer; None where there is none, once that has been said."""
        try:
            return await self._ask(query)
        except RequestError as error:
            self._say(f"{what}: {error}", wrong=True)
        except SessionClosedError:
            self._say(f"{what}: {GONE}", wrong=True)
        return None


def marked(module: str, answer: MarkedModules) -> str:
    """Which modules are marked, in words; `module` is the one that this was about, empty for none."""
    names = [one.module for one in answer.modules]
    if module:
        # The answer has the full path of what may have been written without its root.
        wanted = plain(module)
        module = next((n for n in names if plain(n) == wanted or plain(n).endswith(f".{wanted}")), module)
        if module in names:
            return f"{module}: its output is kept from its next call on, while stepping: show {module} output"
        return f"{module}: its output is kept no longer"
    if not names:
        return "no module is marked: mark net.2, or m on a module in the graph"
    told = [
        f"{one.module} ({fmt.plural(one.calls, 'call')}, {one.note or fmt.byte_count(one.kept)})"
        for one in answer.modules
    ]
    return f"outputs kept in this iteration: {', '.join(told)} of {fmt.byte_count(answer.limit)} in all"
