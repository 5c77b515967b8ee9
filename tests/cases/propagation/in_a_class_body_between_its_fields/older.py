from dataclasses import dataclass


@dataclass
class TrainingArguments:
    lr: float = 3e-4
    weight_decay: float = 0.1
    batch_size: int = 32
    max_steps: int = 600_000
