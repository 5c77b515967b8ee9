"""Articles as WikiExtractor writes them: folders of files with a JSON object per line (id, url, title, text)."""

import argparse
import json
import random
from pathlib import Path

ARTICLES = {"tiny": 60, "paper": 40_000}
PLACES = ["Arlen", "Borth", "Cadrey", "Dunmor", "Ellsby", "Farrow", "Gansk", "Holme", "Ister", "Jurby"]
THINGS = ["river", "village", "bridge", "railway", "parish", "castle", "market", "harbour", "abbey", "mill"]
ADJECTIVES = ["old", "small", "northern", "royal", "narrow", "former", "western", "busy", "ruined", "famous"]
VERBS = ["was built", "was founded", "was destroyed", "was restored", "was described", "was sold"]
PEOPLE = ["a merchant", "the bishop", "an engineer", "the council", "two brothers", "a regiment"]


def sentence(random_, place, thing):
    shape = random_.randrange(4)
    year = random_.randrange(1100, 1990)
    if shape == 0:
        return f"{place} is a {random_.choice(ADJECTIVES)} {thing} near {random_.choice(PLACES)}."
    if shape == 1:
        return f"The {thing} {random_.choice(VERBS)} in {year} by {random_.choice(PEOPLE)} of {random_.choice(PLACES)}."
    if shape == 2:
        return f"In {year} the {random_.choice(ADJECTIVES)} {random_.choice(THINGS)} {random_.choice(VERBS)}."
    return f"Its {random_.choice(THINGS)} has {random_.randrange(2, 90)} {random_.choice(ADJECTIVES)} {thing}s."


def article(random_, number):
    place, thing = random_.choice(PLACES), random_.choice(THINGS)
    title = f"{place} {thing.capitalize()}"
    paragraphs = [" ".join(sentence(random_, place, thing) for _ in range(random_.randrange(3, 8))) for _ in range(4)]
    return {
        "id": str(number),
        "url": f"https://example.org/wiki?curid={number}",
        "title": title,
        "text": f"{title}\n\n" + "\n\n".join(paragraphs),
    }


parser = argparse.ArgumentParser()
parser.add_argument("--size", choices=ARTICLES, default="tiny")
args = parser.parse_args()
generator = random.Random(20)
for start in range(0, ARTICLES[args.size], 100):
    path = Path("data") / "AA" / f"wiki_{start // 100:02}"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        for number in range(start, min(start + 100, ARTICLES[args.size])):
            file.write(json.dumps(article(generator, number)) + "\n")
