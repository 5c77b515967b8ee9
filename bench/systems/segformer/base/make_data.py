"""Draws street scenes in the format of ADE20K: pictures, and masks of the same name that hold a class for each pixel.

Class 0 is what nobody has labelled. Run once: python make_data.py [--size paper]
"""

import argparse
import random
from pathlib import Path

from PIL import Image, ImageDraw

CLASSES = ["sky", "road", "building", "tree", "car", "person"]  # 1, 2, ...
COLOURS = [(150, 190, 230), (90, 90, 95), (160, 110, 90), (60, 120, 60), (170, 40, 40), (220, 180, 140)]
SIZES = {"tiny": (32, 8, 80), "paper": (1000, 100, 600)}  # pictures to train on, to validate on, pixels


class Scene:
    """A picture and its mask, drawn at once."""

    def __init__(self, dice, side):
        self.dice = dice
        self.image = Image.new("RGB", (side, side), (128, 128, 128))
        self.mask = Image.new("L", (side, side), 0)

    def draw(self, shape, kind, box):
        shade = self.dice.randint(-25, 25)
        colour = tuple(max(0, min(255, part + shade)) for part in COLOURS[kind])
        getattr(ImageDraw.Draw(self.image), shape)(box, fill=colour)
        getattr(ImageDraw.Draw(self.mask), shape)(box, fill=kind + 1)


def street(dice, side):
    scene, horizon = Scene(dice, side), dice.randint(side // 3, side // 2)
    scene.draw("rectangle", 0, (0, 0, side, horizon))
    scene.draw("rectangle", 1, (0, horizon + side // 20, side, side))
    for _ in range(dice.randint(1, 3)):
        x, width = dice.randint(0, side), dice.randint(side // 6, side // 3)
        scene.draw("rectangle", 2, (x, dice.randint(0, horizon // 2), x + width, horizon + side // 10))
    for kind, shape, count in ((3, "ellipse", 3), (4, "rectangle", 2), (5, "ellipse", 2)):
        for _ in range(dice.randint(0, count)):
            x, y, size = (
                dice.randint(0, side),
                dice.randint(horizon, side - side // 6),
                dice.randint(side // 10, side // 5),
            )
            scene.draw(shape, kind, (x, y - size, x + (size // 2 if kind == 5 else size), y + size // 2))
    return scene


def write(split, count, side, seed):
    dice = random.Random(seed)
    for part in ("images", "annotations"):
        (Path("data") / part / split).mkdir(parents=True, exist_ok=True)
    for number in range(count):
        scene, name = street(dice, side), f"ADE_{split}_{number:08d}.png"
        scene.image.save(Path("data") / "images" / split / name)
        scene.mask.save(Path("data") / "annotations" / split / name)
    (Path("data") / "objectInfo.txt").write_text("".join(f"{i}\t{name}\n" for i, name in enumerate(CLASSES, 1)))


parser = argparse.ArgumentParser()
parser.add_argument("--size", choices=SIZES, default="tiny")
training, validation, side = SIZES[parser.parse_args().size]
write("training", training, side, 1)
write("validation", validation, side, 2)
