"""Lines told of by `sys.monitoring`: in a Python that has it, without torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from stepdbg.agent.breakpoints import lines

ROOT = Path(__file__).parents[2]
PYTHON = Path("/root/.pyenv/versions/3.12.1/bin/python")

SCRIPT = """
import importlib.util, sys, types
root, script = sys.argv[1:]
sys.path.insert(0, root)
# The packages above import torch; this module and what it needs do not.
for name in ("stepdbg", "stepdbg.agent", "stepdbg.agent.breakpoints"):
    package = types.ModuleType(name)
    package.__path__ = [root + "/" + name.replace(".", "/")]
    sys.modules[name] = package
from stepdbg.agent.breakpoints import lines

space = {"__name__": "__main__", "__file__": script}
exec(compile(open(script).read(), script, "exec"), space)
told = []
armed = lines.Lines(lambda code, line: told.append((code.co_name, line)))
class Frame:
    pass
import sys as s
frame = Frame(); frame.f_code = space["work"].__code__; frame.f_globals = space
assert armed.arm([(script, 3)], [frame]) == ""
space["work"](2)
assert s.gettrace() is None
print(told)
armed.arm([], [frame])
space["work"](1)
print(len(told), [s.monitoring.get_tool(n) for n in (3, 4)])
"""


@pytest.mark.skipif(not PYTHON.exists() and not lines.EVERY_LINE, reason="needs Python 3.12")
def test_a_line_is_told_of_and_nothing_is_left(tmp_path: Path) -> None:
    script = tmp_path / "work.py"
    script.write_text("def work(n):\n    for i in range(n):\n        x = i\n    return n\n")
    python = sys.executable if lines.EVERY_LINE else str(PYTHON)
    done = subprocess.run(
        [python, "-c", SCRIPT, str(ROOT), str(script)], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.stderr == ""
    assert done.stdout.splitlines() == ["[('work', 3), ('work', 3)]", "2 [None, None]"]


def test_the_nearest_line_with_code() -> None:
    code = compile("x = 1\n\n\ny = 2\n", "/a.py", "exec")
    assert lines.nearest_line([code], 2) == 4
    assert lines.nearest_line([code], 9) is None
