"""Run as `python -m pkg_train`: relative imports, arguments, and how the program sees that it was started."""

# e2e: module=pkg_train args="--steps 4 --name 'two words'"

import argparse
import sys

import torch

from . import model as parts
from .model import build

parser = argparse.ArgumentParser(prog="pkg_train")
parser.add_argument("--steps", type=int, default=3)
parser.add_argument("--name", default="")
args = parser.parse_args()

print(__name__, __package__, __spec__.name, parts.__name__, sys.argv[1:], repr(args.name))

torch.manual_seed(0)
net, criterion = build()
optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
x = torch.randn(16, 3)

for step in range(args.steps):
    optimizer.zero_grad()
    loss = criterion(net(x), x)
    loss.backward()
    optimizer.step()
    print(f"step {step}  loss {loss.item():.6f}")
