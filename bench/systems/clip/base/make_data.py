"""Photos and what was said of them, as YFCC100M has it: rows of a tab-separated file, and a picture by the photo's hash."""

import argparse
import random
from pathlib import Path
from urllib.parse import quote_plus

from PIL import Image, ImageDraw

PHOTOS = {"tiny": 64, "paper": 1_000_000}
COLOURS = {"red": "#c22", "green": "#2a2", "blue": "#22c", "yellow": "#dd2", "white": "#eee", "purple": "#929"}
SHAPES = ["ball", "box", "roof"]
GROUNDS = {"grass": "#384", "sand": "#db8", "snow": "#dde", "road": "#555"}


def photo(random_):
    """A picture and its title and description."""
    shape, colour, ground = random_.choice(SHAPES), random_.choice(list(COLOURS)), random_.choice(list(GROUNDS))
    image = Image.new("RGB", (64, 48), "#9cf")
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 30, 64, 48), fill=GROUNDS[ground])
    x, size = random_.randrange(4, 40), random_.randrange(14, 22)
    box = (x, 36 - size, x + size, 36)
    if shape == "ball":
        draw.ellipse(box, fill=COLOURS[colour])
    elif shape == "box":
        draw.rectangle(box, fill=COLOURS[colour])
    else:
        draw.polygon([(x, 36), (x + size, 36), (x + size // 2, 36 - size)], fill=COLOURS[colour])
    return image, f"{colour} {shape}", f"a photo of a {colour} {shape} on {ground}"


parser = argparse.ArgumentParser()
parser.add_argument("--size", choices=PHOTOS, default="tiny")
args = parser.parse_args()
generator = random.Random(100)
(Path("data") / "images").mkdir(parents=True, exist_ok=True)
with open("data/yfcc100m_dataset.tsv", "w") as file:
    for number in range(PHOTOS[args.size]):
        image, title, description = photo(generator)
        name = f"{generator.getrandbits(128):032x}"
        image.save(Path("data") / "images" / f"{name}.jpg", quality=90)
        file.write("\t".join([str(number), name, quote_plus(title), quote_plus(description), "jpg"]) + "\n")
