"""CLIP from scratch: pictures and their captions find each other in a batch."""

import argparse
from pathlib import Path
from urllib.parse import unquote_plus

import torch
from PIL import Image
from tokenizers import ByteLevelBPETokenizer
from torch.nn import functional as F
from transformers import CLIPConfig, CLIPModel
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

import flor_ray as flor

SIZES = {
    "tiny": {
        "vocab": 320, "length": 16, "image": 32, "batch": 16, "project": 32,
        "text": {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2},
        "vision": {
            "hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 2, "patch_size": 8
        },
    },
    "paper": {
        "vocab": 49408, "length": 77, "image": 224, "batch": 64, "project": 768,
        "text": {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12},
        "vision": {
            "hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16,
            "patch_size": 14,
        },
    },
}  # fmt: skip

parser = argparse.ArgumentParser()
parser.add_argument("--size", choices=SIZES, default="tiny")
parser.add_argument("--epochs", type=int, default=4)
parser.add_argument("--lr", type=float, default=1e-3)
args = parser.parse_args()
size = SIZES[args.size]
device = "cuda" if torch.cuda.is_available() else "cpu"
torch.manual_seed(0)

rows = [line.split("\t") for line in Path("data/yfcc100m_dataset.tsv").read_text().splitlines()]
captions = [unquote_plus(row[3]) for row in rows]
tokenizer = ByteLevelBPETokenizer(lowercase=True)
tokenizer.train_from_iterator(
    captions, vocab_size=size["vocab"], special_tokens=["<|startoftext|>", "<|endoftext|>"], show_progress=False
)
start, end = tokenizer.token_to_id("<|startoftext|>"), tokenizer.token_to_id("<|endoftext|>")
texts = torch.full((len(rows), size["length"]), end)
for row, encoding in zip(texts, tokenizer.encode_batch(captions)):
    ids = [start, *encoding.ids[: size["length"] - 2], end]
    row[: len(ids)] = torch.tensor(ids)

processor = CLIPImageProcessorPil(
    size={"shortest_edge": size["image"]}, crop_size={"height": size["image"], "width": size["image"]}
)


def load(number):
    """A picture, as the model sees it."""
    picture = Image.open(f"data/images/{rows[number][1]}.{rows[number][4]}")
    return processor(picture, return_tensors="pt")["pixel_values"][0]


config = CLIPConfig(
    text_config={
        **size["text"], "vocab_size": size["vocab"], "max_position_embeddings": size["length"],
        "bos_token_id": start, "eos_token_id": end, "pad_token_id": end,
    },
    vision_config={**size["vision"], "image_size": size["image"]},
    projection_dim=size["project"],
    attn_implementation="eager",
)  # fmt: skip
net = CLIPModel(config).to(device)
optimizer = torch.optim.Adam(net.parameters(), lr=args.lr)
held_out = len(rows) // 4
test = torch.arange(held_out)
test_images = torch.stack([load(i) for i in test.tolist()]).to(device)

flor.checkpointing(net=net, optimizer=optimizer)
for epoch in flor.loop("epoch", range(args.epochs)):
    net.train()
    order = held_out + torch.randperm(len(rows) - held_out)
    for idx in flor.loop("step", order.split(size["batch"])):
        x = torch.stack([load(i) for i in idx.tolist()]).to(device)
        out = net(pixel_values=x, input_ids=texts[idx].to(device))
        target = torch.arange(len(idx), device=device)
        loss = (F.cross_entropy(out.logits_per_image, target) + F.cross_entropy(out.logits_per_text, target)) / 2
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        flor.log("loss", loss.item())

    net.eval()
    with torch.no_grad():
        found = net(pixel_values=test_images, input_ids=texts[test].to(device)).logits_per_image.cpu()
    accuracy = (found.argmax(1) == test).float().mean().item()
    flor.log("accuracy", accuracy)
    print(f"epoch {epoch}: loss {loss.item():.3f}, accuracy {accuracy:.3f}")
