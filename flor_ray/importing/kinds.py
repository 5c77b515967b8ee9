"""Programs whose runs can be imported. No more than that: the command line imports it for its words."""

from __future__ import annotations

from collections.abc import Mapping

KINDS: Mapping[str, str] = {
    "tensorboard": "TensorBoard",
    "wandb": "wandb",
    "mlflow": "MLflow",
    "flordb": "FlorDB",
}
