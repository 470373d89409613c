"""What holds for all tests."""

import gc
import sys

import pytest


@pytest.fixture(autouse=True)
def nothing_compiled_before() -> None:
    """What another test has compiled in this process would make causes less certain."""
    dynamo = sys.modules.get("torch._dynamo.utils")
    if dynamo is not None:
        dynamo.counters.clear()


@pytest.fixture
def nothing_kept_before() -> None:
    """For tests that look at all that is alive: what torch.compile has kept of another test's graphs looks like that of
    the run at hand, since every thread counts its nodes from 0.
    """
    dynamo = sys.modules.get("torch._dynamo")
    if dynamo is not None:
        dynamo.reset()
        gc.collect()
