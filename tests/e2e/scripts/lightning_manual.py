"""A Lightning module with manual optimisation (two optimizers), its progress bar on."""

# e2e: slow frameworks timeout=120
# e2e: output=ignore

import logging
import warnings

import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
warnings.filterwarnings("ignore", ".*does not have many workers.*")


class Adversaries(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.automatic_optimization = False
        self.generator = nn.Linear(2, 1)
        self.critic = nn.Linear(1, 1)

    def training_step(self, batch, _index):
        (x,) = batch
        first, second = self.optimizers()

        self.toggle_optimizer(first)
        loss = self.critic(self.generator(x)).square().mean()
        first.zero_grad()
        self.manual_backward(loss)
        first.step()
        self.untoggle_optimizer(first)

        self.toggle_optimizer(second)
        loss = (1 - self.critic(self.generator(x).detach())).square().mean()
        second.zero_grad()
        self.manual_backward(loss)
        second.step()
        self.untoggle_optimizer(second)

    def configure_optimizers(self):
        return [
            torch.optim.SGD(self.generator.parameters(), lr=0.05),
            torch.optim.SGD(self.critic.parameters(), lr=0.05),
        ]


L.seed_everything(0, verbose=False)
model = Adversaries()
trainer = L.Trainer(
    max_epochs=2,
    accelerator="cpu",
    devices=1,
    logger=False,
    enable_checkpointing=False,
    enable_model_summary=False,
)
trainer.fit(model, DataLoader(TensorDataset(torch.randn(16, 2)), batch_size=4))
