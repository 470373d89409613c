"""What a command is: one definition from which keys, palette, prompt and help are made."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from stepdbg.client.store import View
from stepdbg.protocol.breakpoints import DeleteBreakpoint, EditBreakpoint, SetBreakpoint
from stepdbg.protocol.compare import GetDiff
from stepdbg.protocol.edits import SetRequiresGrad, SetValue
from stepdbg.protocol.messages import Action
from stepdbg.protocol.whatif import GetWhatIf


class GraphHost(Protocol):
    """What a command can ask of the app about graphs. Each call returns at once."""

    def show_view(self, view: str) -> None:
        """Show the graph by "modules" or "raw"; empty: the other one."""

    def fold(self, base: int) -> None:
        """Fold every row alike: see `Lens.base`."""

    def choose(self, number: int | None) -> None:
        """Show the graph of that number; None: let the user choose."""

    def watch(self, what: str, *, on: bool) -> None:
        """Switch recording of "grads" or "stacks" on or off; empty: say what is recorded."""

    def export(self, name: str, *, replace: bool) -> None:
        """Write the graph as it is shown to the file `name`, over one that exists only with `replace`."""


class ParameterHost(Protocol):
    """What a command can ask of the app about the parameter pane. Each call returns at once."""

    def show_columns(self, titles: tuple[str, ...] | None) -> None:
        """Show these columns; none of them: the ones as at first; None: let the user choose."""

    def sort(self, quantity: str, falling: bool) -> None:
        """Sort by the quantity of that name, the largest first if `falling`; empty: as in the model."""

    def show_names(self, full: bool | None) -> None:
        """Show names with their root module always or not; None: say how it is."""

    def show_tree(self, on: bool | None) -> None:
        """Group by module, or not; None: the other of the two."""


class ValuesHost(Protocol):
    """What a command can ask of the app about single tensors. Each call returns at once."""

    def show(self, expression: str) -> None:
        """Show what `expression` gives instead of the selected parameter; "-" or empty: the parameter again."""

    def slice(self, text: str) -> None:
        """Show that part; empty: the whole."""

    def display(self, display: str) -> None:
        """Show numbers, a heatmap, …; empty: the next of them."""

    def precision(self, digits: int) -> None:
        """Show so many significant digits."""

    def go_to(self, place: str) -> None:
        """Put the cursor on an element: an index, or "max", "min", "nan", and of which side."""

    def mark(self, module: str, *, on: bool) -> None:
        """Keep what that module puts out, or no longer; empty: say which are kept."""


class StepHost(Protocol):
    """What a command can ask of the app about optimizer steps. Each call returns at once."""

    def explain(self, name: str, index: tuple[int, ...] | None) -> None:
        """Show what the step does to one element; no name: the selected parameter, no index: the selected element."""


class EditHost(Protocol):
    """What a command can ask of the app about changes by hand. Each call returns at once."""

    def set(self, query: SetValue | SetRequiresGrad) -> None:
        """Have it done, and say what it changed."""

    def show(self) -> None:
        """List every edit of this run."""


class CompareHost(Protocol):
    """What a command can ask of the app about comparisons. Each call returns at once."""

    def diff(self, query: GetDiff) -> None:
        """Show what differs."""


class PlotHost(Protocol):
    """What a command can ask of the app about plots. Each call returns at once."""

    def show_plots(self, what: str) -> None:
        """Plot "loss", "grad", "lr", "ratio" or "all"; empty: what was looked at last."""


class ChainHost(Protocol):
    """What a command can ask of the app about backwards. Each call returns at once."""

    def explain_backward(self, name: str) -> None:
        """Show how the backward comes to that parameter; empty: to the selected one."""


class InsideHost(Protocol):
    """What a command can ask of the app about places inside phases. Each call returns at once."""

    def until(self, place: str) -> None:
        """Run until there; empty: until what is selected in the focused pane."""


class BreakpointHost(Protocol):
    """What a command can ask of the app about breakpoints and watches. Each call returns at once."""

    def do(self, query: SetBreakpoint | EditBreakpoint | DeleteBreakpoint) -> None:
        """Have it done, and say what it did."""

    def toggle(self) -> None:
        """Set one at what is selected, or delete the one that is there."""

    def unwatch(self, what: str) -> None:
        """Delete the watch of that number or text; empty: all watches."""

    def show(self) -> None:
        """List them all."""

    def file(self) -> str:
        """The file that the source pane shows, absolute; empty for none."""


class WordsHost(Protocol):
    """What a command can have said in words: of frames, expressions and whole topics. Each call returns at once."""

    def evaluate(self, text: str, *, statement: bool) -> None:
        """Run `text` in the selected frame, and tell what it gave."""

    def show_traceback(self) -> None:
        """Tell where the last error of an expression came from; else the script's exception."""

    def show_answers(self) -> None:
        """List what was answered before, at earlier stops as well."""

    def show_stack(self) -> None:
        """Tell the call stack."""

    def select_frame(self, number: int | None, step: int = 0) -> None:
        """Select that frame, or the one `step` frames further out (negative: further in)."""

    def display(self, text: str) -> None:
        """Tell what `text` gives, now and at every stop; empty: at once what is displayed."""

    def undisplay(self, number: int | None) -> None:
        """Display it no longer; None: nothing any more."""

    def info(self, topic: str, rest: str) -> None:
        """Tell of a topic (see `commands.info.TOPICS`)."""

    def run_file(self, name: str) -> None:
        """Run the commands in that file, one a line; those that resume wait for the next stop."""

    def list_source(self) -> None:
        """Tell (or show) the lines around the one about to run."""

    def detach(self) -> None:
        """Take everything out of the script, let it run on bare, and leave."""


class MemoryHost(Protocol):
    """What a command can ask of the app about memory. Each call returns at once."""

    def show(self) -> None:
        """Show modules, gradients and other tensors one by one."""


class LeakHost(Protocol):
    """What a command can ask of the app about leaks and estimates of memory. Each call returns at once."""

    def show(self, what: str) -> None:
        """Look for what is kept alive; "watch" or "unwatch": count in free runs too, or not; "off": not at all."""

    def what_if(self, query: GetWhatIf) -> None:
        """Show that estimate."""


class Host(Protocol):
    """What a command can ask of the app that runs it. Each call returns at once; the View has the outcome."""

    @property
    def graph(self) -> GraphHost:
        """What can be done with graphs."""

    @property
    def parameters(self) -> ParameterHost:
        """What can be done with the parameter pane."""

    @property
    def values(self) -> ValuesHost:
        """What can be done with single tensors."""

    @property
    def step(self) -> StepHost:
        """What can be told of optimizer steps."""

    @property
    def edits(self) -> EditHost:
        """Changes by hand."""

    @property
    def compare(self) -> CompareHost:
        """Comparisons."""

    @property
    def plots(self) -> PlotHost:
        """What can be done with plots."""

    @property
    def chains(self) -> ChainHost:
        """How backwards are explained."""

    @property
    def inside(self) -> InsideHost:
        """Places inside phases."""

    @property
    def breakpoints(self) -> BreakpointHost:
        """Breakpoints and watches."""

    @property
    def words(self) -> WordsHost:
        """What is said in words."""

    @property
    def memory(self) -> MemoryHost:
        """What can be shown of memory."""

    @property
    def leaks(self) -> LeakHost:
        """What is kept alive, and what memory would be."""

    def resume_script(self, action: Action, *, times: int = 1) -> None:
        """Let the stopped script go on; again at each stop that is the end of a step, so many times in all."""

    def pause_script(self) -> None:
        """Ask for a stop at the next boundary."""

    def restart_script(self) -> None:
        """End the script and start it anew in a fresh process."""

    def quit_debugger(self) -> None:
        """End the script and the app."""

    def look_back(self, steps: int | None) -> None:
        """Look `steps` stops later (negative: earlier); None: at the present."""

    def focus_pane(self, number: str) -> None:
        """Focus the pane with that number, "1" to "7"."""

    def maximize_pane(self) -> None:
        """Give the focused pane all the room, or give it back."""

    def search_pane(self, pattern: str) -> None:
        """Search in the focused pane; an empty pattern asks for one."""

    def leave(self) -> None:
        """Step out of what is open: a search, a maximised pane, an earlier stop."""

    def open_prompt(self, text: str) -> None:
        """Open the `:` prompt with `text` in it."""

    def show_help(self, command: str) -> None:
        """Show the help screen, or the help of one command."""

    def redraw(self) -> None:
        """Write the whole screen anew, whatever stands on the terminal."""

    def switch_theme(self, name: str) -> None:
        """Use that theme; empty: the other one of light and dark."""


@dataclass(frozen=True)
class Argument:
    """The one argument that a command takes at the prompt."""

    name: str
    help: str
    choices: tuple[str, ...] = ()
    """What it may be; empty: any text."""
    required: bool = True
    also: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Other words for choices."""
    check: Callable[[str], object] | None = None
    """Raises UsageError for text that cannot be used whatever the script does."""
    kind: str = "text"
    """Its type: "choice", "number", "expression" (or "statement": completed from the frame's names), "parameter",
    "file", "command", "text"."""
    suggest: Callable[[str], Iterable[str]] | None = None
    """What text that has been begun may become."""
    suggest_in: Callable[[str, View], Iterable[str]] | None = None
    """The same, from what is on screen."""


Availability = Callable[[View], str | None]
"""Why a command cannot be done now, in one line; None when it can."""


def always(_view: View) -> str | None:
    """Available whatever the script is doing."""
    return None


@dataclass(frozen=True)
class Command:
    """One thing the user can have done."""

    name: str
    """Its word at the prompt and its id in the keymap."""
    group: str
    """Heading in the help."""
    help: str
    """One line, a full sentence."""
    run: Callable[[Host, str], None]
    """Does it, with the argument ("" for none)."""
    keys: tuple[str, ...] = ()
    """Default keys, in Textual's names."""
    aliases: tuple[str, ...] = ()
    """Other words for it: gdb's and pdb's, where they have one."""
    argument: Argument | None = None
    available: Availability = always
    footer: str = ""
    """Its word in the footer; empty: not shown there."""
    footer_group: str = ""
    """Commands next to each other with the same one share that word in the footer."""

    @property
    def usage(self) -> str:
        """How it is written at the prompt: "focus PANE", "search [PATTERN]"."""
        if self.argument is None:
            return self.name
        word = self.argument.name.upper()
        return f"{self.name} {word}" if self.argument.required else f"{self.name} [{word}]"
