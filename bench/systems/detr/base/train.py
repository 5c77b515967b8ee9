"""Fine-tune DETR to find protective equipment (CPPE-5, COCO's format)."""

import argparse
import json
from pathlib import Path

import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from transformers import DetrConfig, DetrForObjectDetection, DetrImageProcessorPil, ResNetConfig

import flor_ray as flor

parser = argparse.ArgumentParser()
parser.add_argument("--size", choices=["tiny", "paper"], default="tiny")
parser.add_argument("--epochs", type=int, default=4)
parser.add_argument("--lr", type=float, default=2e-4)
parser.add_argument("--batch-size", type=int, default=4)
parser.add_argument("--seed", type=int, default=7)
args = parser.parse_args()

DATA = Path("data")
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
torch.manual_seed(args.seed)

if args.size == "tiny":
    resolution = {"shortest_edge": 96, "longest_edge": 128}
    resnet = ResNetConfig(
        embedding_size=16,
        hidden_sizes=[16, 32, 48, 64],
        depths=[1, 1, 1, 1],
        layer_type="basic",
        out_features=["stage4"],
    )
    transformer = {
        "d_model": 64,
        "encoder_layers": 2,
        "decoder_layers": 2,
        "encoder_ffn_dim": 128,
        "decoder_ffn_dim": 128,
        "encoder_attention_heads": 4,
        "decoder_attention_heads": 4,
        "num_queries": 12,
    }
else:
    resolution = {"shortest_edge": 480, "longest_edge": 640}
    resnet = ResNetConfig(out_features=["stage4"])  # ResNet-50
    transformer = {}  # as in the paper

processor = DetrImageProcessorPil(size=resolution)


class CocoDetection(Dataset):
    def __init__(self, split):
        self.coco = json.loads((DATA / "annotations" / f"{split}.json").read_text())
        self.split = split
        self.objects = {image["id"]: [] for image in self.coco["images"]}
        for annotation in self.coco["annotations"]:
            self.objects[annotation["image_id"]].append(annotation)

    def __len__(self):
        return len(self.coco["images"])

    def __getitem__(self, index):
        info = self.coco["images"][index]
        image = Image.open(DATA / self.split / info["file_name"]).convert("RGB")
        target = {"image_id": info["id"], "annotations": self.objects[info["id"]]}
        encoding = processor(images=image, annotations=target, return_tensors="pt")
        return encoding["pixel_values"][0], encoding["labels"][0]


def collate(batch):
    """Pictures differ in size: pad them, and tell the model where the padding is."""
    height = max(pixels.shape[1] for pixels, _ in batch)
    width = max(pixels.shape[2] for pixels, _ in batch)
    pixel_values = torch.zeros(len(batch), 3, height, width)
    pixel_mask = torch.zeros(len(batch), height, width, dtype=torch.long)
    for i, (pixels, _) in enumerate(batch):
        pixel_values[i, :, : pixels.shape[1], : pixels.shape[2]] = pixels
        pixel_mask[i, : pixels.shape[1], : pixels.shape[2]] = 1
    return {"pixel_values": pixel_values, "pixel_mask": pixel_mask, "labels": [target for _, target in batch]}


train_set, test_set = CocoDetection("train"), CocoDetection("test")
train_loader = DataLoader(train_set, batch_size=args.batch_size, shuffle=True, collate_fn=collate)
test_loader = DataLoader(test_set, batch_size=args.batch_size, collate_fn=collate)
categories = [category["name"] for category in train_set.coco["categories"]]

config = DetrConfig(
    use_timm_backbone=False,
    backbone_config=resnet,
    num_labels=len(categories),
    attn_implementation="eager",
    **transformer,
)
model = DetrForObjectDetection(config).to(device)
optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr, weight_decay=1e-4)


def iou(box, boxes):
    inner = torch.min(box[2:], boxes[:, 2:]) - torch.max(box[:2], boxes[:, :2])
    inner = inner.clamp(min=0).prod(-1)
    return inner / ((box[2:] - box[:2]).prod() + (boxes[:, 2:] - boxes[:, :2]).prod(-1) - inner)


def corners(boxes, size):
    height, width = size.tolist()
    cx, cy, w, h = boxes.unbind(-1)
    return torch.stack([(cx - w / 2) * width, (cy - h / 2) * height, (cx + w / 2) * width, (cy + h / 2) * height], -1)


flor.checkpointing(model=model, optimizer=optimizer)
for epoch in flor.loop("epoch", range(args.epochs)):
    model.train()
    total = 0.0
    for batch in flor.loop("step", train_loader):
        labels = [{k: v.to(device) for k, v in target.items()} for target in batch["labels"]]
        out = model(batch["pixel_values"].to(device), batch["pixel_mask"].to(device), labels=labels)
        loss = out.loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.1)
        optimizer.step()
        total += loss.item()
        flor.log("loss", loss.item())

    # of the boxes that the model is surest of, one for each object: how much of an object of that class they cover
    model.eval()
    overlaps = [[] for _ in categories]
    with torch.no_grad():
        for batch in test_loader:
            labels = [{k: v.to(device) for k, v in target.items()} for target in batch["labels"]]
            out = model(batch["pixel_values"].to(device), batch["pixel_mask"].to(device))
            sizes = torch.stack([target["orig_size"] for target in labels])
            results = processor.post_process_object_detection(out, threshold=0.0, target_sizes=sizes)
            for result, target in zip(results, labels):
                wanted = corners(target["boxes"], target["orig_size"])
                for best in result["scores"].argsort(descending=True)[: len(wanted)]:
                    kind = result["labels"][best]
                    overlap = iou(result["boxes"][best], wanted) * (target["class_labels"] == kind)
                    overlaps[kind].append(overlap.max().item())
    values = [value for kind in overlaps for value in kind]
    mean_precision = sum(value > 0.5 for value in values) / len(values)
    flor.log("mean_precision", mean_precision)
    print(f"epoch {epoch}: loss {total / len(train_loader):.3f}, precision {mean_precision:.3f}")
