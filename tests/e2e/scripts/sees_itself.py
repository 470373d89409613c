"""What the script can see of how it runs is what it sees bare: path, environment, flags, threads, signals."""

# e2e: args="--flag -x 'a b'" keys="n n c" slow

import os
import signal
import sys
import threading
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # counts only when set before torch is imported

import torch
from torch import nn

torch.manual_seed(0)
model = nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

for _ in range(3):
    optimizer.zero_grad()
    loss = model(torch.randn(8, 4)).square().mean()
    loss.backward()
    optimizer.step()

print(__name__, Path(__file__).name, __spec__, sys.argv, Path(sys.path[0]).name)
print(sys.flags, sys.warnoptions, sys._xoptions)
print(sorted(name for name in vars() if not name.startswith("_")))
print({name: value for name, value in os.environ.items() if name.startswith(("PYTHON", "STEPDBG"))})
print([entry for entry in sys.path if "inject" in entry], "sitecustomize" in sys.modules)
print(signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGHUP))
print([thread.name for thread in threading.enumerate()], torch.get_num_threads())
print(sys.stdin.isatty(), sys.stdout.isatty(), sys.gettrace(), sys.getprofile(), sys.getrecursionlimit())
