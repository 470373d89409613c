"""What is picked out of everything alive is all of it, and no other thread of the script can tell."""

from __future__ import annotations

import gc
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from types import FunctionType
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import Module, Parameter

from stepdbg.agent import collected
from stepdbg.agent.memory.leaks_free import as_many
from stepdbg.agent.memory.leaks_holders import held_somewhere


@pytest.fixture
def switching() -> Iterator[None]:
    """Threads take turns as often as Python lets them."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


class Building(threading.Thread):
    """Makes tuples out of a generator all the time, of one tensor over and over."""

    def __init__(self, tensor: Tensor) -> None:
        super().__init__()
        self.errors: list[SystemError] = []
        self.made = 0
        self.ended = False
        self._tensor = tensor

    def run(self) -> None:
        while not self.ended:
            try:
                tuple(self._tensor for _ in range(3))
                self.made += 1
            except SystemError as error:
                self.errors.append(error)


LOOKS: dict[str, Callable[[Tensor], object]] = {
    "tensors": lambda tensor: collected.alive({Tensor, Parameter}),
    "functions": lambda tensor: collected.alive({FunctionType}),
    "containers": lambda tensor: as_many(3, set()),
    "referrers": lambda tensor: held_somewhere([tensor], ()),
}


@pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS)
def test_nothing_is_held_of_a_tuple_that_is_being_built(look: Callable[[Tensor], object]) -> None:
    tensor = torch.zeros(2)
    kept: list[object] = []

    def items() -> Iterator[Tensor]:
        yield tensor
        kept.append(look(tensor))
        yield tensor

    gc.disable()  # what only a collection would let go of is held
    try:
        assert len(tuple(items())) == 2
    finally:
        gc.enable()


@pytest.mark.usefixtures("switching")
@pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS)
def test_tuples_that_other_threads_are_building_are_left_alone(look: Callable[[Tensor], object]) -> None:
    tensor = torch.zeros(2)
    building = Building(tensor)
    building.start()
    try:
        for _ in range(10):
            look(tensor)
            seen = building.made
            while building.made == seen and not building.errors:  # it has its turn between any two looks
                pass
    finally:
        building.ended = True
        building.join()
    assert building.errors == []


class Odd(type):
    """A metaclass that can neither be hashed nor compared."""

    __hash__ = None  # type: ignore[assignment]

    def __eq__(cls, other: object) -> bool:
        raise AssertionError("compared")


class Thing(metaclass=Odd):
    pass


class Proxy:
    """Says that it is a Tensor."""

    @property
    def __class__(self) -> Any:
        raise AssertionError("asked for its class")


def test_everything_of_a_class_is_found_and_nothing_else() -> None:
    mine = [torch.zeros(1), Parameter(torch.zeros(1)), torch.nn.Linear(1, 1), deque([1]), Thing(), Proxy()]
    found = collected.alive(collected.subclasses(Tensor))
    assert sum(thing is mine[0] or thing is mine[1] for thing in found) == 2
    assert all(issubclass(type(thing), Tensor) for thing in found)
    assert any(thing is mine[2] for thing in collected.alive(collected.subclasses(Module)))
    assert any(thing is mine[3] for thing in collected.alive({deque}))


def test_who_refers_to_a_thing_is_told_with_its_class_and_all_that_it_refers_to() -> None:
    tensor, other = torch.zeros(1), torch.zeros(1)
    held, alone = {"a": tensor, "b": other}, [other]
    told = {holder: (kind, {id(one) for one in referents}) for holder, kind, referents in collected.referrers([tensor])}
    assert told[id(held)][0] is dict
    assert {id(tensor), id(other)} <= told[id(held)][1]
    assert id(alone) not in told
