"""How names of parameters are shown: as in `named_parameters()`, or with the variable of the root module in front."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar


class Titled:
    """A record of what has a name, which identifies it, and may be shown under a shorter one."""

    name: str
    shown: str

    @property
    def title(self) -> str:
        """The name as the user reads it."""
        return self.shown or self.name


@dataclass(frozen=True)
class NamesShown:
    """How names are shown from here on."""

    full: bool
    """Whether with the root module always, as the user wants it."""
    left_out: tuple[str, ...]
    """Root modules whose variable is left out at this stop, sorted."""


@dataclass(frozen=True)
class KnownNames:
    """What can be pointed at, for completion. At most MOST_KNOWN of each."""

    stop: int
    parameters: tuple[str, ...]
    """As they are shown, in the model's order, then in full where that is another."""
    modules: tuple[str, ...]
    """Paths from the roots' variables, in the order found."""


MOST_KNOWN = 20_000


@dataclass(frozen=True)
class GetNames:
    """Names of parameters and modules. Cost: what naming them costs; no tensor is read."""

    RESULT: ClassVar[type[Any]] = KnownNames
    id: int


@dataclass(frozen=True)
class SetNames:
    """Show names in full always, or only where they would clash; None: only say how it is."""

    RESULT: ClassVar[type[Any]] = NamesShown
    id: int
    full: bool | None = None
