"""A Lightning module with automatic optimisation, a validation loop and a scheduler."""

# e2e: frameworks timeout=120

import logging
import warnings

import lightning as L
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
warnings.filterwarnings("ignore", ".*does not have many workers.*")


class Regressor(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
        self.losses = []

    def training_step(self, batch, _index):
        x, y = batch
        loss = F.mse_loss(self.net(x), y)
        self.losses.append(loss.item())
        return loss

    def validation_step(self, batch, _index):
        x, y = batch
        print(f"validation {F.mse_loss(self.net(x), y).item():.6f}")

    def configure_optimizers(self):
        optimizer = torch.optim.Adam(self.parameters(), lr=0.01)
        scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
        return [optimizer], [scheduler]


L.seed_everything(0, verbose=False)
x = torch.randn(32, 4)
data = TensorDataset(x, x.sum(1, keepdim=True))
model = Regressor()
trainer = L.Trainer(
    max_epochs=2,
    accelerator="cpu",
    devices=1,
    logger=False,
    enable_checkpointing=False,
    enable_progress_bar=False,
    enable_model_summary=False,
    gradient_clip_val=1.0,
    num_sanity_val_steps=0,
)
trainer.fit(model, DataLoader(data, batch_size=8), DataLoader(data, batch_size=16))
print([f"{loss:.6f}" for loss in model.losses])
