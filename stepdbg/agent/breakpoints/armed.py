"""One breakpoint, ready to be hit."""

from __future__ import annotations

from dataclasses import replace

from stepdbg.agent.breakpoints.conditions import Expression, Text
from stepdbg.protocol.breakpoints import Breakpoint, Spec, title


class Armed:
    """A Spec with what has become of it. Raises NotThereError where its condition or text cannot be read, unless it is
    said to be `broken`.
    """

    def __init__(self, number: int, spec: Spec, *, evaluation: bool, broken: bool = False) -> None:
        self.number = number
        self.hits = 0
        self.note = ""
        self.remark = ""
        """What holds for the time being, told after the note."""
        self.stale = False
        self.broken = broken
        """It cannot be used as it is: its condition cannot be read."""
        self.failed = False
        """Its condition has raised, and that was said."""
        self.seen = 0
        """Of an ITERATION: the one that it was hit in last."""
        self.last_call = (0, 0, 0)
        self.shown = ""
        """The target as the user reads it; empty: as it is."""
        self.value = ""
        self.number_value: float | None = None
        self.condition: Expression | None = None
        self.text: Text | None = None
        self.set(spec, evaluation=evaluation)

    def set(self, spec: Spec, *, evaluation: bool) -> None:
        """Be that from now on. Raises NotThereError and changes nothing where it cannot be read."""
        if not self.broken:
            condition = Expression(spec.condition, evaluation=evaluation) if spec.condition else None
            text = Text(spec.log, evaluation=evaluation) if spec.log else None
            self.condition, self.text = condition, text
        self.spec = spec
        self.enabled = spec.enabled
        self.ignore = spec.ignore
        self.failed = False

    @property
    def as_shown(self) -> Spec:
        """The Spec with its target as the user reads it."""
        return replace(self.spec, target=self.shown or self.spec.target)

    @property
    def reason(self) -> str:
        """Why the script is held, when it has been hit."""
        return self.spec.condition or title(self.as_shown)

    def switch_off(self, why: str) -> None:
        """Be off until the user switches it on again, and say why."""
        self.enabled = False
        self.note = f"{why}; it is off now"

    def told(self) -> Breakpoint:
        """As the screen's side shows it."""
        spec = replace(self.spec, ignore=self.ignore, enabled=self.enabled)
        note = "; ".join(text for text in (self.note, self.remark) if text)
        return Breakpoint(self.number, spec, self.hits, note, self.stale, self.value, self.number_value, self.shown)
