"""Two tasks on one trunk: a backward for each (retain_graph), one from both roots at once, a loss written into."""

# e2e: keys="n n n n n n n n i c" slow

import torch
from torch import nn

torch.manual_seed(0)
trunk = nn.Sequential(nn.Linear(6, 12), nn.GELU())
heads = nn.ModuleDict({"price": nn.Linear(12, 1), "kind": nn.Linear(12, 3)})
optimizer = torch.optim.AdamW([*trunk.parameters(), *heads.parameters()], lr=0.01)
squared, entropy = nn.MSELoss(), nn.CrossEntropyLoss()

for iteration in range(5):
    inputs = torch.randn(8, 6)
    shared = trunk(inputs)
    price = squared(heads["price"](shared), inputs.sum(1, keepdim=True))
    kind = entropy(heads["kind"](shared), torch.randint(3, (8,)))
    optimizer.zero_grad()
    if iteration % 2:
        torch.autograd.backward([price, kind], [torch.tensor(1.0), torch.tensor(0.5)])
    else:
        price.backward(retain_graph=True)
        kind /= 2
        kind += 0.0
        kind.backward()
    optimizer.step()
    print(f"iteration {iteration}  price {price.item():.6f}  kind {kind.item():.6f}")
