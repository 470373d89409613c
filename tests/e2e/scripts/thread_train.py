"""Training runs in a thread named "trainer"; the main thread waits for it."""

# e2e: keys="n n n i c" slow

import threading

import torch
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
x = torch.randn(16, 4)
done = threading.Event()


def train():
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for iteration in range(6):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(x), x.mean(1, keepdim=True))
        loss.backward()
        optimizer.step()
        print(f"{threading.current_thread().name}  iteration {iteration}  loss {loss.item():.6f}")
    done.set()


thread = threading.Thread(target=train, name="trainer")
thread.start()
thread.join()
print("done", done.is_set())
