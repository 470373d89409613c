"""A GAN learns a bell curve: two networks, two optimizers, two steps in every turn of the loop."""

import torch
from torch import nn

torch.manual_seed(0)

netG = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1))
netD = nn.Sequential(nn.Linear(1, 16), nn.LeakyReLU(0.2), nn.Linear(16, 1))

criterion = nn.BCEWithLogitsLoss()
optG = torch.optim.Adam(netG.parameters(), lr=2e-3, betas=(0.5, 0.999))
optD = torch.optim.Adam(netD.parameters(), lr=2e-3, betas=(0.5, 0.999))

batch = 64
ones = torch.ones(batch, 1)
zeros = torch.zeros(batch, 1)

for iteration in range(400):
    # The discriminator: real numbers are drawn around 3, the others come from the generator.
    real = 3 + 0.5 * torch.randn(batch, 1)
    fake = netG(torch.randn(batch, 8))
    optD.zero_grad()
    lossD = criterion(netD(real), ones) + criterion(netD(fake.detach()), zeros)
    lossD.backward()
    optD.step()

    # The generator: it wants to be taken for real.
    optG.zero_grad()
    lossG = criterion(netD(fake), ones)
    lossG.backward()
    optG.step()

    if iteration % 100 == 99:
        print(
            f"iteration {iteration + 1}  lossD {lossD.item():.3f}  lossG {lossG.item():.3f}"
            f"  generated mean {fake.mean().item():.2f} std {fake.std().item():.2f} (wanted 3.00, 0.50)"
        )
