"""What `quiet()` switches off is put back as it was, however it is left."""

from __future__ import annotations

import contextlib
import gc
import sys
from collections.abc import Iterator

import pytest

from stepdbg.agent.quiet import quiet


@pytest.fixture(autouse=True)
def _collects() -> Iterator[None]:
    yield
    gc.enable()


@pytest.mark.parametrize("on", [True, False])
def test_collection_is_as_before(on: bool) -> None:
    (gc.enable if on else gc.disable)()
    with quiet():
        assert not gc.isenabled()
        with quiet():
            pass
        assert not gc.isenabled()
    assert gc.isenabled() is on


@pytest.mark.parametrize("on", [True, False])
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_also_when_left_by_an_error(on: bool, error: type[BaseException]) -> None:
    (gc.enable if on else gc.disable)()
    with pytest.raises(error), quiet(), quiet():
        raise error
    assert gc.isenabled() is on


def test_tracer_is_put_back_after_an_error() -> None:
    def tracer(*_: object) -> None:
        return None

    before = sys.gettrace()
    sys.settrace(tracer)
    try:
        inside = []
        with contextlib.suppress(ValueError), quiet():
            inside.append(sys.gettrace())
            raise ValueError
        assert inside == [None]
        assert sys.gettrace() is tracer
    finally:
        sys.settrace(before)
