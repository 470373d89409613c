"""Spawned processes that import this file again: a pool that prepares data, and a DataLoader's workers."""

# e2e: slow timeout=120

import multiprocessing

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def prepare(seed):
    """One row, made in another process; that process runs a phase of its own."""
    torch.manual_seed(seed)
    return nn.Linear(3, 3)(torch.ones(3)).tolist()


def main():
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        rows = pool.map(prepare, range(8))

    torch.manual_seed(0)
    x = torch.tensor(rows)
    model = nn.Linear(3, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loader = DataLoader(TensorDataset(x), batch_size=4, shuffle=True, num_workers=1, multiprocessing_context="spawn")
    for epoch in range(2):
        for (batch,) in loader:
            optimizer.zero_grad()
            loss = (model(batch) - 1).square().mean()
            loss.backward()
            optimizer.step()
            print(f"epoch {epoch}  loss {loss.item():.6f}")


if __name__ == "__main__":
    main()
