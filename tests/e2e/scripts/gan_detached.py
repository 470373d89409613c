"""A GAN, its generator cut off by detach(), .data and argmax; it watches how long its tensors' storages live."""

# e2e: slow keys="n n n n n n i n n c"

import torch
from torch import nn
from torch.multiprocessing.reductions import StorageWeakRef

torch.manual_seed(0)
netG = nn.Sequential(nn.Linear(3, 8), nn.ReLU(inplace=True), nn.Linear(8, 4), nn.Tanh())
netD = nn.Sequential(nn.Linear(4, 8), nn.LeakyReLU(0.2), nn.Linear(8, 1))
words = nn.Embedding(4, 4)
criterion = nn.BCEWithLogitsLoss()
optimizerD = torch.optim.Adam([*netD.parameters(), *words.parameters()], lr=0.01)
optimizerG = torch.optim.Adam(netG.parameters(), lr=0.01)
storages = []

for iteration in range(4):
    fake = netG(torch.randn(16, 3))
    storages.append(StorageWeakRef(fake.untyped_storage()))
    use_count = torch._C._storage_Use_Count(fake.untyped_storage()._cdata)
    optimizerD.zero_grad()
    real = criterion(netD(torch.randn(16, 4) + 2), torch.ones(16, 1))
    false = criterion(netD(fake.detach()), torch.zeros(16, 1)) + criterion(netD(fake.data * 0.5), torch.zeros(16, 1))
    chosen = netD(words(fake.argmax(1))).mean()
    (real + false + chosen).backward()
    optimizerD.step()
    optimizerG.zero_grad()
    loss = criterion(netD(fake), torch.ones(16, 1))
    loss.backward()
    optimizerG.step()
    print(f"iteration {iteration}  loss {loss.item():.6f}  uses of the storage {use_count}")
    del fake, real, false, chosen, loss
    print("storages alive", sum(not storage.expired() for storage in storages))
