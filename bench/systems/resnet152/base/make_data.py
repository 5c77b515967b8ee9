"""Pictures in ImageNet's folders: data/train/<synset>/<synset>_<number>.JPEG, and the same below data/val."""

import argparse
import random
from pathlib import Path

from PIL import Image, ImageDraw

SYNSETS = ["n01440764", "n01443537", "n01484850", "n01491361", "n01494475", "n01496331"]
COUNTS = {"tiny": (16, 6), "paper": (1300, 50)}  # of each synset, to train with and to validate with
COLOURS = ["#b33", "#3b3", "#33b", "#bb3", "#3bb", "#b3b"]


def picture(random_, kind):
    """A shape per synset on a ground of any colour, at any place, in any size."""
    width, height = random_.randrange(40, 72), random_.randrange(40, 72)
    image = Image.new("RGB", (width, height), tuple(random_.randrange(60, 200) for _ in range(3)))
    draw = ImageDraw.Draw(image)
    for _ in range(random_.randrange(1, 4)):
        x, y, size = random_.randrange(width - 16), random_.randrange(height - 16), random_.randrange(12, 30)
        box = (x, y, x + size, y + size)
        colour = COLOURS[(kind + random_.randrange(2)) % len(COLOURS)]
        if kind % 3 == 0:
            draw.ellipse(box, fill=colour)
        elif kind % 3 == 1:
            draw.rectangle(box, fill=colour)
        else:
            draw.polygon([(x, y + size), (x + size, y + size), (x + size // 2, y)], fill=colour)
    return image


parser = argparse.ArgumentParser()
parser.add_argument("--size", choices=COUNTS, default="tiny")
args = parser.parse_args()
generator = random.Random(152)
for split, count in zip(("train", "val"), COUNTS[args.size]):
    for kind, synset in enumerate(SYNSETS):
        folder = Path("data") / split / synset
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(count):
            picture(generator, kind).save(folder / f"{synset}_{number}.JPEG", quality=90)
