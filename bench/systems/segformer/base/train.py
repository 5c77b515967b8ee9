# SegFormer-b0 on street scenes (ADE20K's format)
import argparse
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from transformers import SegformerConfig, SegformerForSemanticSegmentation, SegformerImageProcessorPil

import flor_ray as flor

parser = argparse.ArgumentParser()
parser.add_argument("--size", choices=["tiny", "paper"], default="tiny")
parser.add_argument("--epochs", type=int, default=4)
parser.add_argument("--lr", type=float, default=1e-3)
parser.add_argument("--bs", type=int, default=4)
args = parser.parse_args()

torch.manual_seed(0)
device = "cuda" if torch.cuda.is_available() else "cpu"
root = Path("data")
side = 64 if args.size == "tiny" else 512
names = [line.split("\t")[1] for line in (root / "objectInfo.txt").read_text().splitlines()]
processor = SegformerImageProcessorPil(size={"height": side, "width": side}, do_reduce_labels=True)


class Scenes(Dataset):
    def __init__(self, split):
        self.images = sorted((root / "images" / split).glob("*.png"))
        self.masks = sorted((root / "annotations" / split).glob("*.png"))

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        encoded = processor(Image.open(self.images[i]), Image.open(self.masks[i]), return_tensors="pt")
        return encoded["pixel_values"][0], encoded["labels"][0]


train_loader = DataLoader(Scenes("training"), batch_size=args.bs, shuffle=True)
val_loader = DataLoader(Scenes("validation"), batch_size=args.bs)

if args.size == "tiny":
    b0 = {
        "hidden_sizes": [16, 32, 40, 64],
        "depths": [1, 1, 1, 1],
        "num_attention_heads": [1, 2, 2, 4],
        "decoder_hidden_size": 64,
    }
else:
    b0 = {}  # the configuration's defaults
config = SegformerConfig(num_labels=len(names), attn_implementation="eager", **b0)
model = SegformerForSemanticSegmentation(config).to(device)
opt = torch.optim.Adam(model.parameters(), lr=args.lr)

flor.checkpointing(model=model, opt=opt)
for epoch in flor.loop("epoch", range(args.epochs)):
    model.train()
    for x, y in flor.loop("step", train_loader):
        x, y = x.to(device), y.to(device)
        loss = model(pixel_values=x, labels=y).loss
        opt.zero_grad()
        loss.backward()
        opt.step()
        flor.log("loss", loss.item())

    model.eval()
    cm = np.zeros((len(names), len(names)), dtype=np.int64)
    with torch.no_grad():
        for x, y in val_loader:
            logits = model(pixel_values=x.to(device)).logits
            logits = torch.nn.functional.interpolate(logits, size=y.shape[-2:], mode="bilinear", align_corners=False)
            pred = logits.argmax(1).cpu().numpy()
            y = y.numpy()
            labelled = y != 255
            np.add.at(cm, (y[labelled], pred[labelled]), 1)
    iou = np.diag(cm) / np.maximum(cm.sum(0) + cm.sum(1) - np.diag(cm), 1)
    flor.log("mean_iou", iou.mean().item())
    print(f"epoch {epoch}: loss {loss.item():.3f}, mean IoU {iou.mean():.3f}")
