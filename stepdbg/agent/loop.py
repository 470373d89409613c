"""The training loop as seen from its phases: iterations, micro-batches, and the stations of the rail.

Pure bookkeeping, no torch. A *site* is where a phase is called from. The order of the rail is the order in which sites
were first entered, kept from iteration to iteration. `enter` and `left` are on the path that a free run takes at every
boundary: sites are compared by numbers, since hashing a code object or an enum member costs more than all the rest.

An iteration ends when every optimizer known has stepped once; where one of them steps twice before the others, each
step ends one from then on. A SCHEDULER phase right after still belongs to it. With no optimizer in sight, an
iteration ends when a site comes round again after a backward. A micro-batch ends in the same way within an
iteration.
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from stepdbg.protocol.records import Phase

Site = tuple[int, int, str]
"""Where a phase is called from: id of the code object, the instruction in it, and the phase."""

RATE_WINDOW = 20
"""Iterations that the rate is measured over."""

TRANSPARENT = frozenset({Phase.STEP, Phase.CUSTOM})

_SCHEDULER = Phase.SCHEDULER
_BACKWARD = Phase.BACKWARD

MAX_STATIONS = 200
"""Sites kept for one iteration's rail; a loop that calls from more places than this shows the first ones."""


class Station:
    """One site of the loop and what is known of its runs in this iteration."""

    __slots__ = (
        "code",
        "count",
        "depth",
        "detail",
        "failed",
        "iteration",
        "kind",
        "loss",
        "loss_before",
        "loss_place",
        "mark",
        "micro",
        "phase",
        "root",
        "root_label",
        "seconds",
        "skipped",
        "subject",
        "transparent",
    )

    def __init__(self, phase: Phase, depth: int, code: Any = None) -> None:
        self.phase = phase
        self.transparent = phase in TRANSPARENT
        """Whether user code inside it runs phases of its own: a closure in STEP, the lines of a CUSTOM one."""
        self.depth = depth
        self.code = code
        """The calling code object, held so that its id stays its own."""
        self.subject: Any = None
        """A weak reference to what is concerned, a plain string, or None."""
        self.kind = ""
        self.detail = ""
        self.seconds: float | None = None
        self.count = 0
        self.iteration = 0
        self.micro = 0
        self.mark = 0
        """The loop's mark when it was entered last: equal marks mean the same micro-batch."""
        self.skipped = False
        self.failed = False
        self.loss: float | None = None
        """The loss read last of what this site made, and the one before it: for the trend."""
        self.loss_before: float | None = None
        self.loss_place: tuple[int, int] | None = None
        self.root: weakref.ref[Any] | None = None
        """What its last BACKWARD started from, and the user's name for it once that has been looked up."""
        self.root_label = ""

    def concerns(self, subject: Any) -> None:
        """Remember what is concerned, without holding it."""
        old = self.subject
        if isinstance(old, weakref.ref) and old() is subject:
            return
        try:
            self.subject = weakref.ref(subject)
        except TypeError:
            self.subject = None
        self.kind = getattr(subject, "__name__", None) or type(subject).__name__

    def what(self) -> Any:
        """The object concerned while it is alive (or a custom phase's name), else None."""
        return self.subject() if isinstance(self.subject, weakref.ref) else self.subject


class Loop:
    """Counts iterations and micro-batches, and learns the order of the loop's phases."""

    def __init__(self) -> None:
        self.iteration = 1
        self.micro_batch = 1
        self.stations: dict[Site, Station] = {}
        self.order: list[Site] = []
        self.backwards = 0
        """BACKWARD phases since gradients were last cleared, of those that were seen."""
        self.came_late = False
        """Whether gradients may be of backwards before we were there: until they are cleared."""
        self.ends: deque[float] = deque(maxlen=RATE_WINDOW + 1)
        """Run-clock times at which iterations ended."""
        self.partly_free = 0
        """The iteration in which the last free run ended; 0: there was none."""
        self._previous: Site | None = None
        self._mark = 1
        self.had_backward = False
        """Whether there was a backward in this micro-batch."""
        self.over = False
        """Whether the iteration has ended, so that the next phase (but a SCHEDULER's) begins another."""
        self.over_at: int | None = None
        """The sequence number at which it ended in a free run, where nothing tells when the next one begins."""
        self._stepped: set[int] = set()
        self._expected: set[int] | None = None
        self.alone: int | None = None
        """The optimizer each of whose steps ends an iteration, where there is just one such."""
        self._any_step = False
        self.has_optimizers = False
        """Whether an optimizer has been built: then only its steps end iterations."""

    def enter(self, site: Site, phase: Phase, depth: int, clock: float, code: Any = None) -> Station:
        """A phase at `site` begins, `depth` phases deep, at `clock` seconds of run time."""
        station = self.stations.get(site)
        if self.over and phase is not _SCHEDULER:
            self.next_iteration(clock)
        elif self.had_backward and station is not None and station.mark == self._mark:
            if self._any_step or self.has_optimizers:
                self._next_micro()
            else:
                self.next_iteration(clock)
        if station is None:
            station = self._add(site, phase, depth, code)
        elif station.iteration != self.iteration:
            station.count = 0
            station.seconds = None
            station.skipped = station.failed = False
            station.detail = ""  # a remark is about one run
        station.mark = self._mark
        station.iteration = self.iteration
        station.micro = self.micro_batch
        self._previous = site
        return station

    def come_to(self, code: Any, instruction: int, clock: float) -> None:
        """The script has come to that instruction, outside of all phases. Where an iteration is over, what lies before
        its first phase in the same code belongs to the next one.
        """
        if self.over and self.order and self.order[0][0] == id(code) and instruction <= self.order[0][1]:
            self.next_iteration(clock)

    def left(self, station: Station, seconds: float) -> None:
        """The phase at `station` has run for `seconds`."""
        station.count += 1
        station.seconds = seconds if station.seconds is None else station.seconds + seconds
        if station.phase is _BACKWARD and not station.skipped and not station.failed:
            self.ran_backward()

    def ran_backward(self) -> None:
        """A backward has been run: gradients are added into `.grad`."""
        self.had_backward = True
        self.backwards += 1

    def cleared(self) -> None:
        """Gradients were cleared."""
        self.backwards, self.came_late = 0, False

    @property
    def known_backwards(self) -> int | None:
        """BACKWARD phases since gradients were last cleared; None: there may have been others before we came."""
        return None if self.came_late else self.backwards

    def stepped(self, optimizer: int, known: Callable[[], Iterable[int]]) -> None:
        """The optimizer with this id has stepped (or its step was left out by the gradient scaler).

        `known`: the ids of all that exist, asked for at the first step.
        """
        self._any_step = True
        if self._expected is None:
            self._expected = {optimizer, *known()}
            self.alone = optimizer if len(self._expected) == 1 else None
        expected = self._expected
        if self.alone == optimizer:
            self.over = True
            return
        if optimizer in self._stepped or optimizer not in expected:
            # The others do not step as often: from now on each step ends an iteration.
            self._expected = {optimizer}
            self.alone = optimizer
            self.over = True
            return
        self._stepped.add(optimizer)
        self.over = self._stepped >= expected

    def after_free_run(self) -> None:
        """The script ran free until here: the order of the rail is still the loop's, what ran of it is not known."""
        self.partly_free = self.iteration + self.over
        for station in self.stations.values():
            station.iteration = self.partly_free - 1
            station.seconds = None
            station.mark = 0

    @property
    def micro_known(self) -> bool:
        """Whether all of this iteration was recorded, so that its micro-batches were counted."""
        return self.iteration != self.partly_free

    def rate(self) -> float | None:
        """Iterations per second of run time, over the last ones; None before two have ended."""
        if len(self.ends) < 2 or self.ends[-1] <= self.ends[0]:
            return None
        return (len(self.ends) - 1) / (self.ends[-1] - self.ends[0])

    def rail(self) -> list[tuple[Site, Station]]:
        """The stations of this iteration and those that the last one had beyond them, in loop order."""
        oldest = self.iteration - 1
        return [(s, self.stations[s]) for s in self.order if self.stations[s].iteration >= oldest]

    def next_iteration(self, clock: float, *, free: bool = False) -> None:
        """An iteration has ended, at `clock` seconds of run time, and the next one begins.

        `free`: in a free run, where nothing is entered; what the rail knew before it is kept for after it.
        """
        self.iteration += 1
        self.ends.append(clock)
        self.over = False
        if self._stepped:
            self._stepped.clear()
        if not free:
            oldest = self.iteration - 1
            if any(station.iteration < oldest for station in self.stations.values()):
                self._forget(oldest)
        self._previous = None
        self._next_micro()
        self.micro_batch = 1

    def _forget(self, oldest: int) -> None:
        self.stations = {site: s for site, s in self.stations.items() if s.iteration >= oldest}
        self.order = [site for site in self.order if site in self.stations]

    def _next_micro(self) -> None:
        self.micro_batch += 1
        self._mark += 1
        self.had_backward = False

    def _add(self, site: Site, phase: Phase, depth: int, code: Any) -> Station:
        station = Station(phase, depth, code)
        if len(self.order) < MAX_STATIONS:
            self.stations[site] = station
            at = self.order.index(self._previous) + 1 if self._previous in self.order else len(self.order)
            if self._previous is None and self.iteration > 1:
                at = 0
            self.order.insert(at, site)
        return station
