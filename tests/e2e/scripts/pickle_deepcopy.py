"""Copies and pickles of everything in the loop, in its middle, go on training and agree with the original."""

# e2e: keys="n n n n i i c" slow

import copy
import io
import pickle

import torch
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 1))
seen = []
model[1].register_forward_hook(lambda module, args, output: seen.append(tuple(output.shape)))
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
x = torch.randn(16, 4)


def one_step(net, optim, sched):
    optim.zero_grad()
    loss = nn.functional.mse_loss(net(x), x.sum(1, keepdim=True))
    loss.backward()
    optim.step()
    sched.step()
    return loss.item()


for iteration in range(3):
    print(f"iteration {iteration}  loss {one_step(model, optimizer, scheduler):.6f}")

model[1]._forward_hooks.clear()  # a lambda cannot be pickled
copied = copy.deepcopy((model, optimizer, scheduler))
pickled = pickle.loads(pickle.dumps((model, optimizer)))
buffer = io.BytesIO()
torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, buffer)
buffer.seek(0)
loaded = torch.load(buffer, weights_only=True)

print(f"original {one_step(model, optimizer, scheduler):.8f}")
print(f"deepcopy {one_step(*copied):.8f}")
again = torch.optim.lr_scheduler.ExponentialLR(pickled[1], 0.9)
print(f"pickle   {one_step(*pickled, again):.8f}")
print(len(seen), sorted(loaded), sorted(vars(model)) == sorted(vars(copied[0])))
