"""A model under torch.compile, with a graph break; how often it was compiled, and into what, is printed."""

# e2e: timeout=120

import torch
from torch import nn
from torch._dynamo.testing import CompileCounterWithBackend

torch.manual_seed(0)


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(4, 8)
        self.second = nn.Linear(8, 1)

    def forward(self, x):
        x = torch.relu(self.first(x))
        torch._dynamo.graph_break()
        return self.second(x)


model = Model()
counter = CompileCounterWithBackend("aot_eager")
fast = torch.compile(model, backend=counter)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
x = torch.randn(16, 4)
y = x.sum(1, keepdim=True)

for iteration in range(6):
    optimizer.zero_grad()
    loss = nn.functional.mse_loss(fast(x), y)
    loss.backward()
    optimizer.step()
    print(f"iteration {iteration}  loss {loss.item():.6f}")

print(f"{counter.frame_count} graphs of {counter.op_count} operations")
