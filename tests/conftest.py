"""What holds for all tests."""

import sys

import pytest


@pytest.fixture(autouse=True)
def nothing_compiled_before() -> None:
    """What another test has compiled in this process would make causes less certain."""
    dynamo = sys.modules.get("torch._dynamo.utils")
    if dynamo is not None:
        dynamo.counters.clear()
