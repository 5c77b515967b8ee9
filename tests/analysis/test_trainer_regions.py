"""In which regions statements run that a library's Trainer comes to."""

from __future__ import annotations

import pytest

from flor_ray.analysis.phases.phases import phases_of
from flor_ray.records import Region

HUGGING_FACE = """
import flor_ray as flor
flor.autolog()
from transformers import Trainer, TrainerCallback, TrainingArguments

class Mine(TrainerCallback):
    def on_epoch_begin(self, args, state, control, **more):
        flor.log("head", 1)
    def on_step_end(self, args, state, control, **more):
        self.look("step")
    def on_epoch_end(self, args, state, control, **more):
        flor.log("tail", 1)
    def on_train_end(self, args, state, control, **more):
        flor.log("over", 1)
    def look(self, what):
        flor.log("looked", what)

class Own(Trainer):
    def compute_loss(self, model, inputs, **more):
        flor.log("loss_of_mine", 1)
        return super().compute_loss(model, inputs, **more)
    def create_optimizer(self):
        flor.log("made", 1)
        return super().create_optimizer()
    def _save(self, folder):
        flor.log("saved", 1)

def metrics(prediction):
    flor.log("matrix", 1)

def main():
    trainer = Own(args=TrainingArguments("out", eval_strategy="epoch"), callbacks=[Mine()], compute_metrics=metrics)
    flor.log("before", 1)
    trainer.train()
    flor.log("after", 1)

main()
"""
LIGHTNING = """
import flor_ray as flor
import lightning as L
from flor_ray.integrations import LightningCallback

class Net(L.LightningModule):
    def shared(self, batch):
        flor.log("shared", 1)
    def training_step(self, batch, index):
        flor.log("inner", 1)
        return self.shared(batch)
    def validation_step(self, batch, index):
        flor.log("validated", 1)
        return self.shared(batch)
    def on_train_epoch_end(self):
        flor.log("tail", 1)
    def test_step(self, batch, index):
        flor.log("tested", 1)
    def forward(self, x):
        flor.log("forward", 1)

L.Trainer(callbacks=[LightningCallback()]).fit(Net(), data)
"""


def regions(text: str, *names: str) -> dict[str, Region]:
    phases = phases_of("train.py", {"train.py": text})
    return {name: phases.logged(name).region for name in names}


def test_hooks_of_hugging_faces_trainer_run_when_it_calls_them() -> None:
    found = regions(
        HUGGING_FACE,
        *("head", "looked", "tail", "over", "loss_of_mine", "made", "saved", "matrix", "before", "after"),
    )
    assert found == {
        "head": Region.HEAD,
        "looked": Region.INNER,
        "tail": Region.TAIL,
        "over": Region.SUFFIX,
        "loss_of_mine": Region.INNER,  # and in evaluations: at epochs' ends
        "made": Region.PREFIX,
        "saved": Region.WHOLE,  # a private method of the library's: nobody knows who calls it
        "matrix": Region.TAIL,
        "before": Region.PREFIX,
        "after": Region.SUFFIX,
    }


@pytest.mark.parametrize(
    ("old", "new", "region"),
    [
        ('eval_strategy="epoch"', 'eval_strategy="steps", eval_steps=2', Region.INNER),
        ('eval_strategy="epoch"', "**options", Region.INNER),
        ("    trainer.train()\n", "    trainer.train()\n    trainer.evaluate()\n", Region.WHOLE),
        ('eval_strategy="epoch"', 'eval_strategy="epoch", eval_on_start=True', Region.WHOLE),
        ("    trainer.train()\n", "    trainer.train()\n    trainer.train()\n", Region.WHOLE),
        ("flor.autolog()", "", Region.WHOLE),
        ("compute_metrics=metrics", "compute_metrics=wrapped(metrics)", Region.WHOLE),
        ("    def _save", "    def train(self):\n        super().train()\n    def _save", Region.WHOLE),
    ],
)
def test_an_evaluation_is_where_the_files_say_that_it_comes(old: str, new: str, region: Region) -> None:
    assert old in HUGGING_FACE
    assert regions(HUGGING_FACE.replace(old, new), "matrix") == {"matrix": region}


def test_hooks_of_a_lightning_module_run_when_its_trainer_calls_them() -> None:
    found = regions(LIGHTNING, "inner", "validated", "shared", "tail", "tested", "forward")
    assert found == {
        "inner": Region.INNER,
        "validated": Region.TAIL,
        "shared": Region.INNER,
        "tail": Region.TAIL,
        "tested": Region.WHOLE,  # nothing calls it
        "forward": Region.WHOLE,
    }
    in_middle = LIGHTNING.replace("L.Trainer(", "L.Trainer(val_check_interval=0.5, ")
    assert regions(in_middle, "validated") == {"validated": Region.INNER}


def test_a_trainer_of_the_users_own_has_its_own_loop() -> None:
    text = """
import flor_ray as flor
flor.autolog()
class Trainer:
    def train(self):
        for epoch in flor.loop("epoch", range(3)):
            self.compute_loss()
    def compute_loss(self):
        flor.log("loss", 1)
trainer = Trainer()
trainer.train()
"""
    assert regions(text, "loss") == {"loss": Region.HEAD}
    model = "import flor_ray as flor\nflor.autolog()\nflor.log('here', 1)\nmodel.train()\nscaler.fit(x)\n"
    assert regions(model, "here") == {"here": Region.WHOLE}
