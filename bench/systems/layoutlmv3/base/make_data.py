"""Fills in forms in FUNSD's format: pictures of pages, words with boxes, entities.

Run once: python make_data.py [--size paper]
"""

import argparse
import json
import random
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

SIZES = {"tiny": (24, 8), "paper": (149, 50)}  # forms to train on, to test on: as many as FUNSD has
WIDTH, HEIGHT, LINE = 600, 800, 26
HEADERS = ["PURCHASE ORDER", "LAB REPORT", "EXPENSE CLAIM", "SHIPPING NOTICE", "CONSULTANT AGREEMENT"]
QUESTIONS = [
    "Date:",
    "Name of buyer:",
    "Total amount:",
    "Brand:",
    "Approved by:",
    "Phone No.",
    "Ship to:",
    "Sample size:",
]
ANSWERS = [
    "March 4",
    "J. Miller",
    "$ 1,250.00",
    "R&D Dept",
    "Winston Salem",
    "919 555 0134",
    "12 boxes",
    "none",
    "pending review",
]
NOTES = ["please return this page to the office", "see reverse side", "for internal use only", "copies to file"]


class Page:
    """One form: what is drawn, and the entities that the annotation lists."""

    def __init__(self) -> None:
        self.image = Image.new("L", (WIDTH, HEIGHT), 255)
        self.pen, self.font = ImageDraw.Draw(self.image), ImageFont.load_default(14)
        self.entities: list[dict[str, object]] = []

    def write(self, text: str, label: str, x: int, y: int) -> int:
        words = []
        for word in text.split():
            left, top, right, bottom = self.pen.textbbox((x, y), word, font=self.font)
            self.pen.text((x, y), word, fill=0, font=self.font)
            words.append({"text": word, "box": [int(left), int(top), int(right), int(bottom)]})
            x = int(right) + 6
        boxes = [word["box"] for word in words]
        outer = [min(b[0] for b in boxes), min(b[1] for b in boxes), max(b[2] for b in boxes), max(b[3] for b in boxes)]
        self.entities.append(
            {"id": len(self.entities), "text": text, "label": label, "box": outer, "words": words, "linking": []}
        )
        return x


def fill(dice: random.Random) -> Page:
    page = Page()
    page.write(dice.choice(HEADERS), "header", dice.randint(150, 250), 20)
    for line in range(dice.randint(3, 6)):
        y = 70 + 2 * LINE * line
        if dice.random() < 0.2:
            page.write(dice.choice(NOTES), "other", dice.randint(30, 120), y)
            continue
        end = page.write(dice.choice(QUESTIONS), "question", dice.randint(30, 60), y)
        page.write(dice.choice(ANSWERS), "answer", end + dice.randint(10, 80), y)
        page.entities[-2]["linking"] = page.entities[-1]["linking"] = [[len(page.entities) - 2, len(page.entities) - 1]]
    return page


def write(folder: Path, count: int, seed: int) -> None:
    dice = random.Random(seed)
    for part in ("annotations", "images"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for number in range(count):
        page = fill(dice)
        page.image.save(folder / "images" / f"{number:08d}.png")
        (folder / "annotations" / f"{number:08d}.json").write_text(json.dumps({"form": page.entities}))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", choices=SIZES, default="tiny")
    train, test = SIZES[parser.parse_args().size]
    write(Path("data/training_data"), train, 1)
    write(Path("data/testing_data"), test, 2)
