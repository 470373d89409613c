"""Writes what perf_counter says (on Linux the same in all processes) just before its first phase into a file.

usage: first_phase.py FILE
"""

import json
import sys
from pathlib import Path
from time import perf_counter

import torch
from torch import nn

net = nn.Linear(4, 1)
optimiser = torch.optim.SGD(net.parameters(), lr=0.1)
x = torch.randn(8, 4)

Path(sys.argv[1]).write_text(json.dumps([perf_counter()]))
optimiser.zero_grad()
loss = net(x).square().mean()
loss.backward()
optimiser.step()
