"""transformers.Trainer on a tiny GPT-2 made from its config: two epochs, accumulation of 2, no download."""

# e2e: frameworks timeout=120
# e2e: keys="n n i c"

import os
import tempfile

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import torch
from torch.utils.data import Dataset
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments, set_seed
from transformers.trainer_callback import PrinterCallback
from transformers.utils import logging

logging.set_verbosity_error()
set_seed(0)


class RandomTokens(Dataset):
    def __init__(self, count, length, vocabulary):
        generator = torch.Generator().manual_seed(1)
        self.tokens = torch.randint(vocabulary, (count, length), generator=generator)

    def __len__(self):
        return len(self.tokens)

    def __getitem__(self, index):
        return {"input_ids": self.tokens[index], "labels": self.tokens[index]}


model = GPT2LMHeadModel(GPT2Config(vocab_size=61, n_positions=16, n_embd=16, n_layer=2, n_head=2))

with tempfile.TemporaryDirectory() as folder:
    arguments = TrainingArguments(
        output_dir=folder,
        num_train_epochs=2,
        per_device_train_batch_size=4,
        gradient_accumulation_steps=2,
        learning_rate=1e-3,
        logging_steps=1,
        eval_strategy="epoch",
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
        seed=0,
    )
    trainer = Trainer(
        model=model,
        args=arguments,
        train_dataset=RandomTokens(16, 12, 61),
        eval_dataset=RandomTokens(8, 12, 61),
    )
    trainer.remove_callback(PrinterCallback)  # it prints times
    trainer.train()

for entry in trainer.state.log_history:
    print({key: entry[key] for key in ("step", "loss", "eval_loss", "grad_norm") if key in entry})
