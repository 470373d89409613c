"""TorchScript and torch.fx of a model, each then trained, and the code that was captured."""

# e2e: keys="n n n i i c" timeout=90 slow

import warnings

import torch
from torch import fx, nn

warnings.filterwarnings("ignore", category=DeprecationWarning)
torch.manual_seed(0)


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 8), nn.ReLU())
        self.head = nn.Linear(8, 1)

    def forward(self, x):
        return self.head(self.body(x)) + 1


model = Model()
x = torch.randn(16, 4)
forms = {
    "scripted": torch.jit.script(model),
    "traced": torch.jit.trace(model, x),
    "symbolic": fx.symbolic_trace(model),
}
print(forms["scripted"].code)
print(forms["traced"].code)
print(forms["symbolic"].code)

for name, form in forms.items():
    optimizer = torch.optim.SGD(form.parameters(), lr=0.05)
    for _ in range(2):
        optimizer.zero_grad()
        loss = form(x).square().mean()
        loss.backward()
        optimizer.step()
        print(f"{name}  loss {loss.item():.6f}")
