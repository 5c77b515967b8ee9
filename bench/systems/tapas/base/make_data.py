"""Writes tables and questions about them: tables as csv files, questions as tsv files in the format of SQA and WTQ.

A question's answer is a set of cells, or a number that has to be computed from some. Run once:
python make_data.py [--size paper]
"""

import argparse
import csv
import random
from pathlib import Path

from tokenizers import BertWordPieceTokenizer

SIZES = {"tiny": (8, 3), "paper": (2100, 400)}  # tables for training, for testing
VOCABULARY = {"tiny": 300, "paper": 30522}
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[EMPTY]"]
FIRST = ["Anna", "Boris", "Clara", "David", "Elena", "Fritz", "Greta", "Hugo", "Ines", "Jakob"]
LAST = ["Adler", "Berg", "Costa", "Dorn", "Engel", "Frank", "Graf", "Huber"]
CITIES = ["Lisbon", "Oslo", "Turin", "Ghent", "Porto", "Graz", "Bergen", "Lyon"]
FIELDS = ["id", "annotator", "position", "question", "table_file", "answer_coordinates", "answer_text", "float_answer"]


def table(dice):
    rows, names = [], dice.sample([f"{a} {b}" for a in FIRST for b in LAST], 6)
    for name in names[: dice.randint(4, 6)]:
        rows.append([name, dice.choice(CITIES), str(dice.randint(1950, 2005)), str(dice.randint(1, 40))])
    return ["Name", "City", "Born", "Wins"], rows


def questions(dice, rows):
    """(question, cells, number): the number is empty where the cells are the answer."""
    row = dice.randrange(len(rows))
    name, city, year, _ = rows[row]
    yield f"when was {name} born?", [(row, 2)], ""
    yield f"where does {name} come from?", [(row, 1)], ""
    yield f"who was born in {year}?", [(i, 0) for i, each in enumerate(rows) if each[2] == year], ""
    yield (
        "what is the total number of wins?",
        [(i, 3) for i in range(len(rows))],
        str(sum(int(each[3]) for each in rows)),
    )
    there = [(i, 0) for i, each in enumerate(rows) if each[1] == city]
    yield f"how many players come from {city}?", there, str(len(there))
    best = max(range(len(rows)), key=lambda i: int(rows[i][3]))
    yield "who has the most wins?", [(best, 0)], ""


def write(split, count, seed):
    dice = random.Random(seed)
    (Path("data") / "table_csv").mkdir(parents=True, exist_ok=True)
    with (Path("data") / f"{split}.tsv").open("w", newline="") as file:
        out = csv.writer(file, delimiter="\t", lineterminator="\n")
        out.writerow(FIELDS)
        for number in range(count):
            header, rows = table(dice)
            name = f"table_csv/{split}_{number}.csv"
            with (Path("data") / name).open("w", newline="") as sheet:
                csv.writer(sheet, lineterminator="\n").writerows([header, *rows])
            for position, (question, cells, number_) in enumerate(questions(dice, rows)):
                texts = [rows[i][j] for i, j in cells]
                out.writerow(
                    [f"nt-{split}-{number}", 0, position, question, name, [str(c) for c in cells], texts, number_]
                )


def learn_vocabulary(size):
    """The word pieces of the training questions and all tables. They are others each time."""
    with (Path("data") / "train.tsv").open(newline="") as file:
        texts = [row["question"] for row in csv.DictReader(file, delimiter="\t")]
    texts += [path.read_text().replace(",", " ") for path in sorted((Path("data") / "table_csv").glob("*.csv"))]
    learner = BertWordPieceTokenizer(lowercase=True)
    learner.train_from_iterator(texts, vocab_size=size, special_tokens=SPECIAL, show_progress=False)
    learner.save_model("data")


parser = argparse.ArgumentParser()
parser.add_argument("--size", choices=SIZES, default="tiny")
args = parser.parse_args()
training, testing = SIZES[args.size]
write("train", training, 1)
write("test", testing, 2)
learn_vocabulary(VOCABULARY[args.size])
