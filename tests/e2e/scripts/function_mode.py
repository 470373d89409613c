"""A TorchFunctionMode and a tensor subclass count every function that torch is asked for while modules run."""

# e2e: slow keys="n n n n i c"

from collections import Counter

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

torch.manual_seed(0)
seen = Counter()


class Counting(TorchFunctionMode):
    def __torch_function__(self, func, types, args=(), kwargs=None):
        seen[getattr(func, "__qualname__", str(func))] += 1
        return func(*args, **(kwargs or {}))


class Tagged(torch.Tensor):
    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        seen["tagged " + getattr(func, "__qualname__", str(func))] += 1
        return super().__torch_function__(func, types, args, kwargs)


class Several(nn.Module):
    """Puts out a dictionary, a tuple and a sparse tensor."""

    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Linear(4, 8), nn.Linear(8, 2)

    def forward(self, x, *, scale):
        hidden = torch.relu(self.body(x)) * scale
        sparse = hidden.to_sparse() if type(x) is torch.Tensor else None
        return {"logits": self.head(hidden), "hidden": (hidden, [hidden.detach()]), "sparse": sparse}


net = Several()
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
for iteration in range(3):
    with Counting():
        output = net(torch.randn(6, 4), scale=torch.ones(8))
        tagged = net(torch.randn(6, 4).as_subclass(Tagged), scale=torch.ones(8))
    each = torch.func.vmap(net.head)(torch.randn(3, 2, 8))
    loss = output["logits"].square().mean() + tagged["logits"].as_subclass(torch.Tensor).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(f"iteration {iteration}  loss {loss.item():.6f}  sum {each.sum().item():.6f}")
for name, count in sorted(seen.items()):
    print(count, name)
