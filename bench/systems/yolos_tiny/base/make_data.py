"""Draws pictures of animals, fruit and traffic with boxes, in the layout of COCO 2017. Run once: python make_data.py [--size paper]"""

import argparse
import json
import random
from pathlib import Path

from PIL import Image, ImageDraw

CATEGORIES = {3: "car", 10: "traffic light", 17: "cat", 53: "apple", 55: "orange"}  # with COCO's numbers, gaps and all
COLOURS = {3: (180, 30, 40), 10: (40, 40, 40), 17: (120, 110, 100), 53: (200, 20, 20), 55: (240, 150, 20)}
SIZES = {
    "tiny": (32, 10, (64, 96)),
    "paper": (2000, 100, (480, 640)),
}  # pictures to train on, to test on, height and width


def draw(pen, kind, x, y, w, h):
    colour, box = COLOURS[kind], (x, y, x + w, y + h)
    if kind == 3:
        pen.rectangle((x, y + h // 2, x + w, y + h), fill=colour)
        pen.rectangle((x + w // 4, y, x + 3 * w // 4, y + h // 2), fill=colour)
    elif kind == 10:
        pen.rectangle(box, fill=colour)
        for lamp, light in enumerate(((220, 40, 40), (220, 200, 40), (40, 200, 60))):
            pen.ellipse((x + w // 4, y + lamp * h // 3, x + 3 * w // 4, y + (lamp + 1) * h // 3), fill=light)
    elif kind == 17:
        pen.ellipse(box, fill=colour)
        pen.polygon([(x, y), (x + w // 3, y + h // 4), (x, y + h // 2)], fill=colour)
    else:
        pen.ellipse(box, fill=colour)


def picture(dice, height, width):
    image = Image.new("RGB", (width, height), tuple(dice.randrange(90, 220) for _ in range(3)))
    pen, objects = ImageDraw.Draw(image), []
    for _ in range(dice.randint(1, 3)):
        kind = dice.choice(sorted(CATEGORIES))
        w, h = dice.randint(width // 6, width // 3), dice.randint(height // 5, height // 2)
        x, y = dice.randrange(width - w), dice.randrange(height - h)
        draw(pen, kind, x, y, w, h)
        objects.append((kind, [x, y, w, h]))
    return image, objects


def write(split, count, shape, seed):
    dice, (height, width) = random.Random(seed), shape
    folder = Path("data") / split
    folder.mkdir(parents=True, exist_ok=True)
    images, annotations = [], []
    for number in range(1, count + 1):
        image, objects = picture(dice, height, width)
        name = f"{number:012d}.png"
        image.save(folder / name)
        images.append({"id": number, "file_name": name, "height": height, "width": width})
        for kind, box in objects:
            about = {"id": len(annotations) + 1, "image_id": number, "category_id": kind, "iscrowd": 0}
            annotations.append({**about, "bbox": box, "area": box[2] * box[3]})
    (Path("data") / "annotations").mkdir(exist_ok=True)
    categories = [{"id": number, "name": name} for number, name in CATEGORIES.items()]
    coco = {"images": images, "annotations": annotations, "categories": categories}
    (Path("data") / "annotations" / f"instances_{split}.json").write_text(json.dumps(coco))


parser = argparse.ArgumentParser()
parser.add_argument("--size", choices=SIZES, default="tiny")
training, validation, shape = SIZES[parser.parse_args().size]
write("train2017", training, shape, 1)
write("val2017", validation, shape, 2)
