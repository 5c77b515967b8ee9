"""YOLOS-tiny on COCO."""

import argparse
import json
from pathlib import Path

import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from transformers import YolosConfig, YolosForObjectDetection, YolosImageProcessorPil

import flor_ray as flor


def get_args():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=["tiny", "paper"], default="tiny")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--lr", type=float, default=0.01)
    parser.add_argument("--batch_size", type=int, default=4)
    parser.add_argument("--clip_max_norm", type=float, default=0.1)
    return parser.parse_args()


class CocoDataset(Dataset):
    def __init__(self, split, processor):
        coco = json.loads(Path(f"data/annotations/instances_{split}.json").read_text())
        self.folder = Path("data") / split
        self.processor = processor
        self.categories = {category["id"]: category["name"] for category in coco["categories"]}
        self.images = coco["images"]
        self.annotations = {image["id"]: [] for image in self.images}
        for annotation in coco["annotations"]:
            self.annotations[annotation["image_id"]].append(annotation)

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        image = Image.open(self.folder / self.images[i]["file_name"]).convert("RGB")
        target = {"image_id": self.images[i]["id"], "annotations": self.annotations[self.images[i]["id"]]}
        encoding = self.processor(images=image, annotations=target, return_tensors="pt")
        return encoding["pixel_values"].squeeze(0), encoding["labels"][0]


def collate_fn(batch):
    return torch.stack([pixels for pixels, _ in batch]), [target for _, target in batch]


def build_model(size, categories):
    small = {
        "hidden_size": 48,
        "num_hidden_layers": 3,
        "intermediate_size": 96,
        "image_size": [64, 96],
        "num_detection_tokens": 10,
    }
    tiny = {"hidden_size": 192, "num_hidden_layers": 12, "intermediate_size": 768, "image_size": [480, 640]}
    config = YolosConfig(
        num_attention_heads=3,
        use_mid_position_embeddings=False,
        num_labels=max(categories) + 1,
        attn_implementation="eager",
        **(small if size == "tiny" else tiny),
    )
    return YolosForObjectDetection(config)


def train_one_epoch(model, loader, optimizer, device, max_norm):
    model.train()
    for images, targets in flor.loop("step", loader):
        images = images.to(device)
        targets = [{k: v.to(device) for k, v in t.items()} for t in targets]
        out = model(pixel_values=images, labels=targets)
        optimizer.zero_grad()
        out.loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm)
        optimizer.step()
        flor.log("loss", out.loss.item())
        flor.log("loss_bbox", out.loss_dict["loss_bbox"].item())


def main():
    args = get_args()
    torch.manual_seed(3)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    edges = (
        {"shortest_edge": 64, "longest_edge": 96}
        if args.size == "tiny"
        else {"shortest_edge": 480, "longest_edge": 640}
    )
    processor = YolosImageProcessorPil(size=edges)
    train_set, val_set = CocoDataset("train2017", processor), CocoDataset("val2017", processor)
    train_loader = DataLoader(train_set, args.batch_size, shuffle=True, collate_fn=collate_fn)
    val_loader = DataLoader(val_set, args.batch_size, collate_fn=collate_fn)
    model = build_model(args.size, train_set.categories).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=args.lr, momentum=0.9)

    flor.checkpointing(model=model, optimizer=optimizer)
    for epoch in flor.loop("epoch", range(args.epochs)):
        train_one_epoch(model, train_loader, optimizer, device, args.clip_max_norm)

        # how sure the model is of the right class, where its best box lies upon an object
        model.eval()
        sure = {kind: [] for kind in train_set.categories}
        with torch.no_grad():
            for images, targets in val_loader:
                out = model(pixel_values=images.to(device))
                scores = out.logits.softmax(-1)
                for score, boxes, target in zip(scores, out.pred_boxes, targets):
                    near = torch.cdist(target["boxes"].to(device), boxes, p=1).argmin(-1)
                    for kind, box in zip(target["class_labels"].tolist(), near.tolist()):
                        sure[kind].append(score[box, kind].item())
        every = [value for values in sure.values() for value in values]
        mean_score = sum(every) / len(every)
        flor.log("mean_score", mean_score)
        print(f"epoch {epoch}: {mean_score:.4f}")


if __name__ == "__main__":
    main()
