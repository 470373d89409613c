"""The script traces its own calls with sys.settrace: what it counts is what it counts bare."""

# e2e: keys="n n n i c" slow

import sys
from collections import Counter

import torch
from torch import nn

torch.manual_seed(0)
counts = Counter()


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 1)

    def forward(self, x):
        y = self.layer(x)
        return y.square()


model = Model()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)


def trace(frame, event, _argument):
    if frame.f_code.co_filename != __file__:
        return None
    counts[frame.f_code.co_name, event] += 1
    return trace


def train(iteration):
    optimizer.zero_grad()
    loss = model(torch.randn(8, 4)).mean()
    loss.backward()
    optimizer.step()
    print(f"iteration {iteration}  loss {loss.item():.6f}")


sys.settrace(trace)
for number in range(5):
    train(number)
still = sys.gettrace() is trace
sys.settrace(None)
print(sorted(counts.items()), still)
