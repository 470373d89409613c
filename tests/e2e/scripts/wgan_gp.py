"""A critic with a gradient penalty: autograd.grad(create_graph=True) inside the loss that backward starts from."""

# e2e: keys="n n n n n n n i c" slow

import torch
from torch import nn

torch.manual_seed(0)
netG = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 2))
netD = nn.Sequential(nn.Linear(2, 16), nn.LeakyReLU(0.2), nn.Linear(16, 1))
optG = torch.optim.Adam(netG.parameters(), lr=1e-3, betas=(0.0, 0.9))
optD = torch.optim.Adam(netD.parameters(), lr=1e-3, betas=(0.0, 0.9))


def gradient_penalty(real, fake):
    share = torch.rand(real.size(0), 1)
    mixed = (share * real + (1 - share) * fake).requires_grad_()
    scores = netD(mixed)
    (gradient,) = torch.autograd.grad(scores, mixed, torch.ones_like(scores), create_graph=True, retain_graph=True)
    return (gradient.norm(2, dim=1) - 1).square().mean()


for iteration in range(4):
    for _ in range(2):
        real = torch.randn(8, 2) + 2
        fake = netG(torch.randn(8, 2)).detach()
        lossD = netD(fake).mean() - netD(real).mean() + 10 * gradient_penalty(real, fake)
        optD.zero_grad()
        lossD.backward()
        optD.step()
    lossG = -netD(netG(torch.randn(8, 2))).mean()
    optG.zero_grad()
    lossG.backward()
    optG.step()
    print(f"iteration {iteration}  critic {lossD.item():.6f}  generator {lossG.item():.6f}")
