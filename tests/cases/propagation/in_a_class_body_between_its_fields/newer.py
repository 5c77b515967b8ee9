from dataclasses import dataclass


@dataclass
class TrainingArguments:
    learning_rate: float = 3e-4
    weight_decay: float = 0.1
    warmup_steps: int = 2_000  # carry
    batch_size: int = 64
    max_steps: int = 600_000
