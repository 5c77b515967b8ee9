"""LayoutLMv3 on FUNSD: which words of a form are headers, questions and answers."""

import argparse

import torch
from torch.utils.data import DataLoader
from transformers import LayoutLMv3Config, LayoutLMv3ForTokenClassification

import flor_ray as flor
from funsd import LABELS, FormDataset, build_processor, read_forms

SIZES = {
    "tiny": {
        "vocab_size": 400,
        "hidden_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 96,
        "input_size": 48,
        "coordinate_size": 8,
        "shape_size": 8,
        "max_position_embeddings": 74,
    },
    "paper": {"vocab_size": 50265, "input_size": 224, "max_position_embeddings": 514},
}


def entities(tags):
    """(first word, last word, kind) of each entity."""
    found, start, kind = set(), 0, None
    for place, tag in enumerate([*tags, "O"]):
        inside = tag.startswith("I-") and tag[2:] == kind
        if kind is not None and not inside:
            found.add((start, place, kind))
            kind = None
        if tag != "O" and not inside:
            start, kind = place, tag[2:]
    return found


def f1_score(hits, found, wanted):
    return 2 * hits / (found + wanted) if found + wanted else 0.0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", choices=SIZES, default="tiny")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--batch_size", type=int, default=4)
    parser.add_argument("--seed", type=int, default=42)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

    config = LayoutLMv3Config(num_labels=len(LABELS), attn_implementation="eager", **SIZES[args.size])
    forms = read_forms("data/training_data")
    processor = build_processor(forms, config.vocab_size, config.input_size)
    max_length = config.max_position_embeddings - 2
    train_set = FormDataset(forms, processor, max_length)
    test_set = FormDataset(read_forms("data/testing_data"), processor, max_length)
    train_loader = DataLoader(train_set, batch_size=args.batch_size, shuffle=True)
    test_loader = DataLoader(test_set, batch_size=args.batch_size)

    model = LayoutLMv3ForTokenClassification(config).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=args.lr)

    flor.checkpointing(model=model, optimizer=optimizer)
    for epoch in flor.loop("epoch", range(args.epochs)):
        model.train()
        for batch in flor.loop("step", train_loader):
            batch = {k: v.to(device) for k, v in batch.items()}
            out = model(**batch)
            optimizer.zero_grad()
            out.loss.backward()
            optimizer.step()
            flor.log("loss", out.loss.item())

        model.eval()
        counts = {"HEADER": [0, 0, 0], "QUESTION": [0, 0, 0], "ANSWER": [0, 0, 0]}  # right, found, wanted
        with torch.no_grad():
            for batch in test_loader:
                batch = {k: v.to(device) for k, v in batch.items()}
                best = model(**batch).logits.argmax(-1)
                for row, labels in zip(best, batch["labels"]):
                    kept = labels != -100
                    found = entities([LABELS[i] for i in row[: len(labels)][kept].tolist()])
                    wanted = entities([LABELS[i] for i in labels[kept].tolist()])
                    for kind, count in counts.items():
                        count[0] += sum(each[2] == kind for each in found & wanted)
                        count[1] += sum(each[2] == kind for each in found)
                        count[2] += sum(each[2] == kind for each in wanted)
        f1 = f1_score(*[sum(column) for column in zip(*counts.values())])
        flor.log("f1", f1)
        print(f"epoch {epoch}: loss {out.loss.item():.3f}, f1 {f1:.3f}")


if __name__ == "__main__":
    main()
