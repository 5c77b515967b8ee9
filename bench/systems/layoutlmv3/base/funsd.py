"""FUNSD: pages, words with their boxes from 0 to 1000, and BIO labels, ready for LayoutLMv3."""

import json
from pathlib import Path

import torch
from PIL import Image
from tokenizers import ByteLevelBPETokenizer
from torch.utils.data import Dataset
from transformers import LayoutLMv3ImageProcessorPil, LayoutLMv3Processor, LayoutLMv3Tokenizer

LABELS = ["O", "B-HEADER", "I-HEADER", "B-QUESTION", "I-QUESTION", "B-ANSWER", "I-ANSWER"]
SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]


def normalize_box(box, width, height):
    x0, y0, x1, y1 = box
    return [int(1000 * x0 / width), int(1000 * y0 / height), int(1000 * x1 / width), int(1000 * y1 / height)]


def read_forms(folder):
    """A dict for each page: its picture, words, boxes and tags."""
    forms = []
    for path in sorted((Path(folder) / "annotations").glob("*.json")):
        image = Image.open(Path(folder) / "images" / f"{path.stem}.png").convert("RGB")
        words, boxes, tags = [], [], []
        for entity in json.loads(path.read_text())["form"]:
            kind = entity["label"].upper()
            for place, word in enumerate(entity["words"]):
                words.append(word["text"])
                boxes.append(normalize_box(word["box"], *image.size))
                tags.append(0 if kind == "OTHER" else LABELS.index(f"{'I' if place else 'B'}-{kind}"))
        forms.append({"image": image, "words": words, "boxes": boxes, "tags": tags})
    return forms


def build_processor(forms, vocab_size, image_size):
    """A tokenizer that learns its merges from the training forms, and the image processor."""
    bpe = ByteLevelBPETokenizer(add_prefix_space=True)
    texts = [" ".join(form["words"]) for form in forms]
    bpe.train_from_iterator(texts, vocab_size=vocab_size, min_frequency=2, special_tokens=SPECIAL, show_progress=False)
    learned = json.loads(bpe.to_str())["model"]
    merges = [tuple(pair) for pair in learned["merges"]]
    tokenizer = LayoutLMv3Tokenizer(vocab=learned["vocab"], merges=merges)
    images = LayoutLMv3ImageProcessorPil(apply_ocr=False, size={"height": image_size, "width": image_size})
    return LayoutLMv3Processor(images, tokenizer)


class FormDataset(Dataset):
    def __init__(self, forms, processor, max_length):
        self.forms = forms
        self.processor = processor
        self.max_length = max_length

    def __len__(self):
        return len(self.forms)

    def __getitem__(self, index):
        form = self.forms[index]
        encoding = self.processor(
            form["image"],
            form["words"],
            boxes=form["boxes"],
            word_labels=form["tags"],
            truncation=True,
            padding="max_length",
            max_length=self.max_length,
            return_tensors="pt",
        )
        return {name: torch.as_tensor(value[0]) for name, value in encoding.items()}
