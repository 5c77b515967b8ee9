"""Draws a detection data set in COCO's format: protective equipment, like CPPE-5.

Run once: python make_data.py [--size paper]
"""

import argparse
import json
import random
from pathlib import Path

from PIL import Image, ImageDraw

CLASSES = ["Coverall", "Face_Shield", "Gloves", "Goggles", "Mask"]
COLOURS = [(230, 230, 240), (120, 200, 230), (60, 90, 200), (40, 40, 40), (90, 180, 120)]
SIZES = {
    "tiny": (32, 10, (96, 128)),
    "paper": (1000, 29, (480, 640)),
}  # pictures to train on, to test on, height and width


def draw(picture: ImageDraw.ImageDraw, kind: int, box: tuple[int, int, int, int]) -> None:
    if kind in (0, 2):
        picture.rounded_rectangle(box, radius=4, fill=COLOURS[kind], outline=(0, 0, 0))
    elif kind in (1, 4):
        picture.ellipse(box, fill=COLOURS[kind], outline=(0, 0, 0))
    else:
        middle = (box[0] + box[2]) // 2
        picture.ellipse((box[0], box[1], middle, box[3]), fill=COLOURS[kind])
        picture.ellipse((middle, box[1], box[2], box[3]), fill=COLOURS[kind])


def scene(dice: random.Random, height: int, width: int) -> tuple[Image.Image, list[tuple[int, list[int]]]]:
    image = Image.new("RGB", (width, height), tuple(dice.randrange(120, 200) for _ in range(3)))
    picture, objects = ImageDraw.Draw(image), []
    for _ in range(dice.randint(1, 4)):
        kind, w, h = (
            dice.randrange(len(CLASSES)),
            dice.randint(width // 8, width // 3),
            dice.randint(height // 8, height // 3),
        )
        x, y = dice.randint(0, width - w - 1), dice.randint(0, height - h - 1)
        draw(picture, kind, (x, y, x + w, y + h))
        objects.append((kind, [x, y, w, h]))
    return image, objects


def write(folder: Path, split: str, count: int, shape: tuple[int, int], seed: int) -> None:
    dice, (height, width) = random.Random(seed), shape
    (folder / split).mkdir(parents=True, exist_ok=True)
    images, annotations = [], []
    for number in range(count):
        image, objects = scene(dice, height, width)
        name = f"{number:06d}.png"
        image.save(folder / split / name)
        images.append({"id": number, "file_name": name, "height": height, "width": width})
        for kind, box in objects:
            annotations.append(
                {
                    "id": len(annotations),
                    "image_id": number,
                    "category_id": kind,
                    "bbox": box,
                    "area": box[2] * box[3],
                    "iscrowd": 0,
                }
            )
    categories = [{"id": number, "name": name} for number, name in enumerate(CLASSES)]
    (folder / "annotations").mkdir(exist_ok=True)
    coco = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "annotations" / f"{split}.json").write_text(json.dumps(coco))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", choices=SIZES, default="tiny")
    train, test, shape = SIZES[parser.parse_args().size]
    write(Path("data"), "train", train, shape, 1)
    write(Path("data"), "test", test, shape, 2)
