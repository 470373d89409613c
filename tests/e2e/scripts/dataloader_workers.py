"""Batches come from two forked worker processes."""

# e2e: timeout=90

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, get_worker_info


class Squares(Dataset):
    def __len__(self):
        return 32

    def __getitem__(self, index):
        x = torch.tensor([index / 32])
        return x, x**2, get_worker_info().id


torch.manual_seed(0)
model = nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Linear(8, 1))
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
loader = DataLoader(Squares(), batch_size=8, shuffle=True, num_workers=2)

for epoch in range(2):
    for x, y, workers in loader:
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
        print(f"epoch {epoch}  workers {sorted(set(workers.tolist()))}  loss {loss.item():.6f}")
