"""An LSTM cell unrolled over 240 steps of a series: a graph that is thousands of nodes deep."""

import argparse

import torch
from torch import nn


class Forecaster(nn.Module):
    def __init__(self, hidden=24):
        super().__init__()
        self.hidden = hidden
        self.cell = nn.LSTMCell(1, hidden)
        self.out = nn.Linear(hidden, 1)

    def forward(self, series):
        """For a (batch, time) series: at each time the guess of the next value, same shape."""
        batch = series.shape[0]
        h = series.new_zeros(batch, self.hidden)
        c = series.new_zeros(batch, self.hidden)
        guesses = []
        for value in series.unbind(1):
            h, c = self.cell(value[:, None], (h, c))
            guesses.append(self.out(h))
        return torch.cat(guesses, dim=1)


def make_series(batch, time):
    """Sums of two sines of random phase, with a little noise: (batch, time)."""
    t = torch.arange(time) / 10
    phases = 6.28 * torch.rand(2, batch, 1)
    return torch.sin(t + phases[0]) + 0.5 * torch.sin(2.7 * t + phases[1]) + 0.05 * torch.randn(batch, time)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--time", type=int, default=240, help="steps that the cell is unrolled over")
    args = parser.parse_args()

    torch.manual_seed(0)
    series = make_series(batch=16, time=args.time + 1)
    inputs, targets = series[:, :-1], series[:, 1:]

    model = Forecaster()
    criterion = nn.MSELoss()
    optimizer = torch.optim.RMSprop(model.parameters(), lr=5e-3)

    for epoch in range(args.epochs):
        optimizer.zero_grad()
        guesses = model(inputs)
        loss = criterion(guesses, targets)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if epoch % 3 == 0 or epoch == args.epochs - 1:
            print(f"epoch {epoch + 1:2d}  loss {loss.item():.4f}  gradient norm {norm.item():.3f}")


if __name__ == "__main__":
    main()
