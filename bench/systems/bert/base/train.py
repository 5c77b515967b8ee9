"""BERT by masked language modelling, from scratch, on a text file with an empty line between documents."""

import argparse
from pathlib import Path

import torch
from tokenizers import BertWordPieceTokenizer
from transformers import BertConfig, BertForMaskedLM

import flor_ray as flor

SIZES = {
    "tiny": {"vocab": 400, "length": 48, "layers": 2, "heads": 4, "width": 48, "batch": 16},
    "paper": {"vocab": 30522, "length": 512, "layers": 12, "heads": 12, "width": 768, "batch": 32},
}

parser = argparse.ArgumentParser()
parser.add_argument("--size", choices=SIZES, default="tiny")
parser.add_argument("--epochs", type=int, default=4)
parser.add_argument("--lr", type=float, default=5e-3)
parser.add_argument("--mask", type=float, default=0.15)
args = parser.parse_args()
size = SIZES[args.size]
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
torch.manual_seed(42)

documents = [text for text in Path("data/wiki.txt").read_text().split("\n\n") if text]
tokenizer = BertWordPieceTokenizer("data/vocab.txt")
tokenizer.enable_truncation(size["length"])
tokenizer.enable_padding(length=size["length"])
pad, mask = tokenizer.token_to_id("[PAD]"), tokenizer.token_to_id("[MASK]")
special = torch.tensor([tokenizer.token_to_id(word) for word in ("[PAD]", "[CLS]", "[SEP]", "[UNK]")])

sentences = [line for text in documents for line in text.split("\n")]
pairs = list(zip(sentences[:-1], sentences[1:]))
encoded = torch.tensor([encoding.ids for encoding in tokenizer.encode_batch(pairs)])
held_out = len(encoded) // 10
train_ids, test_ids = encoded[held_out:], encoded[:held_out]


def mask_tokens(ids, chance):
    """Inputs, in which tokens are hidden, and labels: those tokens, and -100 elsewhere."""
    hidden = (torch.rand(ids.shape) < chance) & ~torch.isin(ids, special)
    return ids.masked_fill(hidden, mask), ids.masked_fill(~hidden, -100)


generator = torch.Generator().manual_seed(0)
test_hidden = (torch.rand(test_ids.shape, generator=generator) < 0.15) & ~torch.isin(test_ids, special)

config = BertConfig(
    vocab_size=size["vocab"],
    hidden_size=size["width"],
    num_hidden_layers=size["layers"],
    num_attention_heads=size["heads"],
    intermediate_size=4 * size["width"],
    max_position_embeddings=size["length"],
    pad_token_id=pad,
    attn_implementation="eager",
)
model = BertForMaskedLM(config).to(device)
optimizer = torch.optim.SGD(model.parameters(), lr=args.lr, momentum=0.9)

flor.checkpointing(model=model, optimizer=optimizer)
for epoch in flor.loop("epoch", range(args.epochs)):
    model.train()
    order = torch.randperm(len(train_ids))
    for idx in flor.loop("step", order.split(size["batch"])):
        x, y = mask_tokens(train_ids[idx], args.mask)
        out = model(input_ids=x.to(device), attention_mask=(x != pad).to(device), labels=y.to(device))
        optimizer.zero_grad()
        out.loss.backward()
        optimizer.step()
        flor.log("loss", out.loss.item())

    model.eval()
    correct = torch.zeros_like(test_hidden)
    with torch.no_grad():
        for start in range(0, len(test_ids), size["batch"]):
            ids, hidden = test_ids[start : start + size["batch"]], test_hidden[start : start + size["batch"]]
            logits = model(
                input_ids=ids.masked_fill(hidden, mask).to(device), attention_mask=(ids != pad).to(device)
            ).logits
            correct[start : start + size["batch"]] = (logits.argmax(-1).cpu() == ids) & hidden
    accuracy = correct.sum().item() / test_hidden.sum().item()
    flor.log("accuracy", accuracy)
    print(f"epoch {epoch}: loss {out.loss.item():.3f}, accuracy {accuracy:.3f}")
