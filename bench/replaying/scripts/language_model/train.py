"""A small GPT-2 learns to add, in a plain PyTorch loop."""

import math

import torch
from corpus import CHARACTERS, encode, get_batch, validate, write_sums
from transformers import GPT2Config, GPT2LMHeadModel, get_cosine_schedule_with_warmup

import flor_ray as flor

epochs = flor.arg("epochs", 4)
steps = flor.arg("steps", 20)
sums = flor.arg("sums", 2000)
layers = flor.arg("layers", 2)
width = flor.arg("width", 64)
batch_size = flor.arg("batch_size", 16)
block_size = 32
lr = flor.arg("lr", 1e-3)

data = encode(write_sums(sums))
split = int(0.9 * len(data))
train_data, val_data = data[:split], data[split:]

config = GPT2Config(
    vocab_size=len(CHARACTERS),
    n_positions=block_size,
    n_embd=width,
    n_layer=layers,
    n_head=4,
    bos_token_id=0,
    eos_token_id=0,
)
model = GPT2LMHeadModel(config)
optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.1)
scheduler = get_cosine_schedule_with_warmup(optimizer, num_warmup_steps=10, num_training_steps=epochs * steps)

with flor.checkpointing(model=model, optimizer=optimizer, scheduler=scheduler):
    for epoch in flor.loop("epoch", range(epochs)):
        model.train()
        total = 0.0
        for step in flor.loop("step", range(steps)):
            block = get_batch(train_data, batch_size, block_size)
            loss = model(input_ids=block, labels=block).loss
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            scheduler.step()
            total += loss.item()
            flor.log("loss", loss.item())
        val_loss = validate(model, val_data, 4, batch_size, block_size)
        flor.log("val_loss", val_loss)
        flor.log("lr_now", scheduler.get_last_lr()[0])
        print(f"epoch {epoch}: train {total / steps:.4f}, val {val_loss:.4f}")

perplexity = math.exp(validate(model, val_data, 8, batch_size, block_size))
print("perplexity:", flor.log("perplexity", perplexity))
