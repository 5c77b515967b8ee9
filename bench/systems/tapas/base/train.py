"""TAPAS on questions about tables (WikiTableQuestions): the answer is some cells, or their sum, average or count."""

import argparse
import ast
from pathlib import Path

import pandas as pd
import torch
from torch.utils.data import DataLoader, Dataset
from transformers import TapasConfig, TapasForQuestionAnswering, TapasTokenizer

import flor_ray as flor

parser = argparse.ArgumentParser()
parser.add_argument("--size", choices=["tiny", "paper"], default="tiny")
parser.add_argument("--epochs", type=int, default=4)
parser.add_argument("--learning-rate", type=float, default=1e-3)
parser.add_argument("--batch-size", type=int, default=8)
args = parser.parse_args()

DATA = Path("data")
OPERATORS = ["NONE", "SUM", "AVERAGE", "COUNT"]
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
torch.manual_seed(1)


def read_tokenizer():
    """The word pieces that make_data.py has learned from the training questions and all tables."""
    return TapasTokenizer(str(DATA / "vocab.txt"))


class TableDataset(Dataset):
    def __init__(self, split, tokenizer, max_length):
        self.questions = pd.read_csv(DATA / f"{split}.tsv", sep="\t")
        self.tokenizer = tokenizer
        self.max_length = max_length

    def __len__(self):
        return len(self.questions)

    def __getitem__(self, index):
        item = self.questions.iloc[index]
        table = pd.read_csv(DATA / item.table_file, dtype=str)
        encoding = self.tokenizer(
            table=table,
            queries=item.question,
            answer_coordinates=[ast.literal_eval(cell) for cell in ast.literal_eval(item.answer_coordinates)],
            answer_text=ast.literal_eval(item.answer_text),
            truncation=True,
            padding="max_length",
            max_length=self.max_length,
            return_tensors="pt",
        )
        encoding = {name: value.squeeze(0) for name, value in encoding.items()}
        encoding["float_answer"] = torch.tensor(item.float_answer, dtype=torch.float32)
        return encoding


if args.size == "tiny":
    tokenizer, max_length = read_tokenizer(), 80
    shape = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 96}
else:
    tokenizer, max_length = read_tokenizer(), 512
    shape = {}  # TAPAS-base

# the hyper-parameters that the authors found for WTQ
config = TapasConfig(
    vocab_size=len(tokenizer),
    num_aggregation_labels=len(OPERATORS),
    use_answer_as_supervision=True,
    answer_loss_cutoff=0.664694,
    cell_selection_preference=0.207951,
    huber_loss_delta=0.121194,
    init_cell_selection_weights_to_zero=True,
    select_one_column=True,
    allow_empty_column_selection=False,
    temperature=0.0352513,
    attn_implementation="eager",
    **shape,
)
model = TapasForQuestionAnswering(config).to(device)
train_data = TableDataset("train", tokenizer, max_length)
test_data = TableDataset("test", tokenizer, max_length)
train_dataloader = DataLoader(train_data, batch_size=args.batch_size, shuffle=True)
test_dataloader = DataLoader(test_data, batch_size=args.batch_size)
optimizer = torch.optim.Adam(model.parameters(), lr=args.learning_rate)

flor.checkpointing(model=model, optimizer=optimizer)
for epoch in flor.loop("epoch", range(args.epochs)):
    model.train()
    for batch in flor.loop("step", train_dataloader):
        batch = {name: value.to(device) for name, value in batch.items()}
        optimizer.zero_grad()
        output = model(**batch)
        loss = output.loss
        loss.backward()
        optimizer.step()
        flor.log("loss", loss.item())

    model.eval()
    right, total = 0, 0
    predicted = torch.zeros(len(OPERATORS), dtype=torch.long)
    with torch.no_grad():
        for batch in test_dataloader:
            inputs = {name: batch[name].to(device) for name in ("input_ids", "attention_mask", "token_type_ids")}
            output = model(**inputs)
            chosen = (output.logits.cpu() > 0) & batch["attention_mask"].bool()
            operators = output.logits_aggregation.cpu().argmax(-1)
            predicted += operators.bincount(minlength=len(OPERATORS))
            same_cells = (chosen == batch["labels"].bool()).float().mean(-1) > 0.95
            same_kind = (operators > 0) == ~batch["float_answer"].isnan()
            right += (same_cells & same_kind).sum().item()
            total += len(operators)
    accuracy = right / total
    flor.log("accuracy", accuracy)
    print(f"epoch {epoch}: loss {loss.item():.3f}, accuracy {accuracy:.3f}")
