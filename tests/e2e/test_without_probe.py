"""A run in an environment where nobody else has a `sitecustomize`: the other tests' probe is one."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest
from runs import environment

from stepdbg.client.session import Exited, Output
from stepdbg.launch.interpreter import Interpreter
from stepdbg.launch.process import Launch, ProcessSession
from stepdbg.protocol import messages as m

SCRIPT = """
import sys, os
print("sitecustomize" in sys.modules, [p for p in sys.path if "inject" in p], os.environ.get("PYTHONPATH"))
print(sorted(n for n in os.environ if n.startswith("STEPDBG")))
import torch
loss = torch.nn.Linear(2, 1)(torch.ones(1, 2)).sum()
loss.backward()
"""


async def _debugged(script: Path, env: dict[str, str]) -> tuple[int, bytes]:
    session = ProcessSession(Launch(Interpreter(sys.executable, "the tests' own"), str(script)))
    output, status = bytearray(), -1
    with mock.patch.dict(os.environ, env, clear=True):
        await session.start()
    async with asyncio.timeout(60):
        async for event in session.events():
            if isinstance(event, m.Stopped):
                session.resume(m.Action.NEXT)
            elif isinstance(event, Output):
                output += event.data
            elif isinstance(event, Exited):
                status = event.status
    await session.close()
    return status, bytes(output)


@pytest.mark.parametrize("path", [None, "", "/nowhere"], ids=["unset", "empty", "set"])
def test_nothing_is_left_or_complained_about(tmp_path: Path, path: str | None) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    env = environment(tmp_path)
    del env["PYTHONPATH"]
    if path is not None:
        env["PYTHONPATH"] = path
    bare = subprocess.run([sys.executable, str(script)], env=env, capture_output=True, check=True)
    status, output = asyncio.run(_debugged(script, env))
    assert status == 0
    assert output.replace(b"\r\n", b"\n") == bare.stdout + bare.stderr
