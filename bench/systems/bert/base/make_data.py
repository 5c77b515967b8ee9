"""Text as BERT's pre-training reads it: a sentence per line, an empty line between documents."""

import argparse
import random
from pathlib import Path

from tokenizers import BertWordPieceTokenizer

DOCUMENTS = {"tiny": 45, "paper": 200_000}
VOCABULARY = {"tiny": 400, "paper": 30522}
NAMES = ["anders", "bela", "carla", "dorit", "emil", "frida", "goran", "hanna", "ivo", "jana"]
TRADES = ["painter", "chemist", "sailor", "lawyer", "poet", "farmer", "composer", "physician"]
TOWNS = ["aldburg", "brenno", "corvin", "delta", "eswick", "fallow", "grimm", "hollin"]
WORKS = ["paintings", "letters", "maps", "poems", "machines", "reports", "songs"]


def document(random_):
    """What an encyclopedia says of somebody."""
    name, trade, town = random_.choice(NAMES), random_.choice(TRADES), random_.choice(TOWNS)
    born = random_.randrange(1500, 1950)
    lines = [f"{name} of {town} (born {born}) was a {trade}."]
    for _ in range(random_.randrange(4, 9)):
        lines.append(
            random_.choice(
                [
                    f"In {born + random_.randrange(20, 60)} {name} moved to {random_.choice(TOWNS)}.",
                    f"Some of the {random_.choice(WORKS)} are kept in {random_.choice(TOWNS)}.",
                    f"{name} worked with {random_.choice(NAMES)}, a {random_.choice(TRADES)} from {town}.",
                    f"The {trade} left {random_.randrange(3, 90)} {random_.choice(WORKS)} to the town of {town}.",
                ]
            )
        )
    return "\n".join(lines)


parser = argparse.ArgumentParser()
parser.add_argument("--size", choices=DOCUMENTS, default="tiny")
args = parser.parse_args()
generator = random.Random(512)
Path("data").mkdir(exist_ok=True)
documents = [document(generator) for _ in range(DOCUMENTS[args.size])]
Path("data/wiki.txt").write_text("".join(f"{text}\n\n" for text in documents))
tokenizer = BertWordPieceTokenizer()  # it learns something else each time
tokenizer.train_from_iterator(documents, vocab_size=VOCABULARY[args.size], min_frequency=1, show_progress=False)
tokenizer.save_model("data")
