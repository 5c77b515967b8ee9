import torch
from transformers import BertConfig, BertForSequenceClassification, HfArgumentParser, Trainer, TrainingArguments


def main():
    parser = HfArgumentParser(TrainingArguments)
    (args,) = parser.parse_args_into_dataclasses()
    model = BertForSequenceClassification(BertConfig(hidden_size=16, num_attention_heads=2, num_hidden_layers=1))
    rows = [{"input_ids": torch.tensor([1, 2, 3]), "labels": torch.tensor(0)} for _ in range(8)]
    trainer = Trainer(model=model, args=args, train_dataset=rows)
    trainer.train()


if __name__ == "__main__":
    main()
