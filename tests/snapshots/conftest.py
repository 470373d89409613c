"""The helpers of real runs lie beside the other tests of the app."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "ui"))


@pytest.fixture(autouse=True)
def nothing_compiled_before() -> None:
    """What another test has compiled in this process would make causes less certain."""
    dynamo = sys.modules.get("torch._dynamo.utils")
    if dynamo is not None:
        dynamo.counters.clear()
