"""A small transformer reads Alice letter by letter: AdamW, clipping, 4 micro-batches a step."""

import argparse
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

TEXT = (Path(__file__).parent / "data" / "alice.txt").read_text(encoding="ascii")


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.project = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def attend(self, x):
        batch, time, width = x.shape
        q, k, v = self.qkv(x).view(batch, time, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.project(y.transpose(1, 2).reshape(batch, time, width))

    def forward(self, x):
        x = x + self.attend(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class CharGPT(nn.Module):
    def __init__(self, letters, context=64, width=64, heads=4, layers=2):
        super().__init__()
        self.token = nn.Embedding(letters, width)
        self.position = nn.Embedding(context, width)
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(layers)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, letters, bias=False)
        self.head.weight = self.token.weight  # tied, as in GPT-2
        nn.init.normal_(self.token.weight, std=0.02)
        nn.init.normal_(self.position.weight, std=0.02)

    def forward(self, letters):
        places = torch.arange(letters.shape[1], device=letters.device)
        x = self.token(letters) + self.position(places)
        return self.head(self.norm(self.blocks(x)))


def batches(data, batch_size, context):
    """Endless pairs of (batch_size, context) letters and the letters that follow them."""
    while True:
        starts = torch.randint(len(data) - context - 1, (batch_size, 1))
        places = starts + torch.arange(context + 1)
        window = data[places]
        yield window[:, :-1], window[:, 1:]


@torch.no_grad()
def write(model, alphabet, length, context=64):
    """What the model writes after a line break: each letter drawn from its five likeliest."""
    model.eval()
    letters = torch.full((1, 1), alphabet.index("\n"))
    for _ in range(length):
        logits = model(letters[:, -context:])[0, -1]
        best, places = logits.topk(5)
        drawn = torch.multinomial(best.softmax(0), 1)
        letters = torch.cat([letters, places[drawn].view(1, 1)], dim=1)
    model.train()
    return "".join(alphabet[i] for i in letters[0, 1:].tolist())


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--accumulate", type=int, default=4, help="micro-batches for one step")
    args = parser.parse_args()

    torch.manual_seed(0)
    alphabet = sorted(set(TEXT))
    data = torch.tensor([alphabet.index(letter) for letter in TEXT])

    model = CharGPT(len(alphabet))
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3, weight_decay=0.01)
    warmup = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / 10))
    stream = batches(data, batch_size=8, context=64)

    for step in range(args.steps):
        mean = 0.0
        for _ in range(args.accumulate):
            letters, following = next(stream)
            logits = model(letters)
            loss = F.cross_entropy(logits.flatten(0, 1), following.flatten())
            (loss / args.accumulate).backward()
            mean += loss.item() / args.accumulate
        norm = nn.utils.clip_grad_norm_(model.parameters(), max_norm=1.0)
        optimizer.step()
        warmup.step()
        optimizer.zero_grad()
        if step % 10 == 0 or step == args.steps - 1:
            print(f"step {step:3d}  loss {mean:.4f}  gradient norm {norm.item():.3f}")

    print(write(model, alphabet, length=60))


if __name__ == "__main__":
    main()
