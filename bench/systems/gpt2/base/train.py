"""GPT-2 from scratch on extracted Wikipedia articles: next token prediction, perplexity on held-out articles."""

import argparse
import json
import math
from pathlib import Path

import torch
from tokenizers import ByteLevelBPETokenizer
from torch.utils.data import DataLoader, TensorDataset
from transformers import GPT2Config, GPT2LMHeadModel

import flor_ray as flor

SIZES = {
    "tiny": {"vocab": 500, "block": 48, "layers": 2, "heads": 4, "width": 48, "batch": 16},
    "paper": {"vocab": 50257, "block": 1024, "layers": 12, "heads": 12, "width": 768, "batch": 8},
}

parser = argparse.ArgumentParser()
parser.add_argument("--size", choices=SIZES, default="tiny")
parser.add_argument("--epochs", type=int, default=4)
parser.add_argument("--lr", type=float, default=2e-3)
parser.add_argument("--seed", type=int, default=1)
args = parser.parse_args()
size = SIZES[args.size]
device = "cuda" if torch.cuda.is_available() else "cpu"
torch.manual_seed(args.seed)

files = sorted(Path("data/AA").iterdir())
texts = [json.loads(line)["text"] for file in files for line in file.read_text().splitlines()]
tokenizer = ByteLevelBPETokenizer()
tokenizer.train_from_iterator(texts, vocab_size=size["vocab"], special_tokens=["<|endoftext|>"], show_progress=False)
end = tokenizer.token_to_id("<|endoftext|>")


def blocks(articles):
    """All articles as one row of tokens, cut into blocks."""
    ids = [token for encoding in tokenizer.encode_batch(articles) for token in [*encoding.ids, end]]
    count = len(ids) // size["block"]
    return TensorDataset(torch.tensor(ids[: count * size["block"]]).view(count, size["block"]))


held_out = len(texts) // 10
train_set, test_set = blocks(texts[held_out:]), blocks(texts[:held_out])
train_loader = DataLoader(train_set, batch_size=size["batch"], shuffle=True)
test_loader = DataLoader(test_set, batch_size=size["batch"])

config = GPT2Config(
    vocab_size=size["vocab"],
    n_positions=size["block"],
    n_embd=size["width"],
    n_layer=size["layers"],
    n_head=size["heads"],
    bos_token_id=end,
    eos_token_id=end,
    attn_implementation="eager",
)
model = GPT2LMHeadModel(config).to(device)
optimizer = torch.optim.Adam(model.parameters(), lr=args.lr)

flor.checkpointing(model=model, optimizer=optimizer)
for epoch in flor.loop("epoch", range(args.epochs)):
    model.train()
    total = 0.0
    for (batch,) in flor.loop("step", train_loader):
        batch = batch.to(device)
        loss = model(input_ids=batch, labels=batch).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item()
        flor.log("loss", loss.item())

    model.eval()
    losses = []
    with torch.no_grad():
        for (batch,) in test_loader:
            batch = batch.to(device)
            losses.append(model(input_ids=batch, labels=batch).loss.item())
    perplexity = math.exp(sum(losses) / len(losses))
    flor.log("perplexity", perplexity)
    print(f"epoch {epoch}: loss {total / len(train_loader):.3f}, perplexity {perplexity:.1f}")

prompt = torch.tensor([tokenizer.encode("The river").ids], device=device)
sample = model.generate(prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=20, do_sample=True, top_k=20)
print(tokenizer.decode(sample[0].tolist()))
