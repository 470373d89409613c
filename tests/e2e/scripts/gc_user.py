"""A script that manages collection itself: switches it off around a step, collects, and asks whether it is on."""

# e2e: keys="n n n n n i c" slow

import gc
import weakref

import torch
from torch import nn


class Circle:
    def __init__(self):
        self.own = self


torch.manual_seed(0)
net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1))
optimizer = torch.optim.Adam(net.parameters())
asked = []
net.register_forward_hook(lambda *_: asked.append(gc.isenabled()))
collected = []
gc.callbacks.append(lambda phase, info: collected.append(info["generation"]) if phase == "stop" else None)

for iteration in range(6):
    if iteration % 2:
        gc.disable()
    loss = nn.functional.mse_loss(net(torch.randn(8, 3)), torch.zeros(8, 1))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    circle, finished = Circle(), []
    weakref.finalize(circle, finished.append, iteration)
    del circle
    states = [gc.isenabled()]
    gc.enable()
    gc.collect()
    states.append(gc.isenabled())
    print(f"iteration {iteration}  loss {loss.item():.6f}  {states} {finished} {asked} full {2 in collected}")
    graph = weakref.ref(loss)
    del loss
    print("loss gone", graph() is None)
