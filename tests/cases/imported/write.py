"""Wrote the files beside it, once, with the libraries themselves:

    python write.py tensorboard DIR    tensorboardX 2.6.5, tensorboard 2.21.0
    python write.py wandb DIR          wandb 0.15.12, whose files Python writes (those of 0.31 the tests write themselves)
    python write.py mlflow DIR         mlflow-skinny 3.17.2, SQLAlchemy 2.1.9; then gzip -9 mlflow.db
    python write.py flordb DIR         flordb 4.0.1, and again with 3.4.12, in a git repository on branch flor.shadow;
                                       then gzip -9 of the databases
"""

import math
import os
import sys

BEGAN = 1_700_000_000.0


def tensorboard():
    from tensorboard.summary import Writer
    from tensorboardX import SummaryWriter

    first = SummaryWriter("plain", filename_suffix=".a")
    for step in range(6):
        first.add_scalar("train/loss", 1 / (step + 1), step, walltime=BEGAN + step)
    first.add_scalar("only.first", 1.5, 2**40, walltime=BEGAN + 2)
    first.add_scalar("it's \"ü\"", math.nan, 0, walltime=BEGAN + 2)
    first.add_scalar("it's \"ü\"", math.inf, 1, walltime=BEGAN + 2)
    first.add_scalar("twice", 1.0, 3, walltime=BEGAN + 2)
    first.add_scalar("twice", 2.0, 3, walltime=BEGAN + 2)
    first.add_scalar("below", 2.0, -1, walltime=BEGAN + 2)
    first.add_text("notes", "two\nlines", 0, walltime=BEGAN + 2)
    first.add_histogram("weights", [1.0, 2.0], 0, walltime=BEGAN + 2)
    first.close()
    again = SummaryWriter("plain", filename_suffix=".b", purge_step=4)
    for step in range(4, 7):
        again.add_scalar("train/loss", 10.0 + step, step, walltime=BEGAN + 100 + step)
    again.close()
    hparams = SummaryWriter("hparams")
    hparams.add_hparams({"lr": 0.1, "opt": "adam", "nesterov": True, "layers": 3}, {"best": 0.5}, name="trial")
    hparams.close()
    tensors = Writer("tensors")
    for step in range(3):
        tensors.add_scalar("acc", step / 4, step, wall_time=BEGAN + step)
    tensors.close()


def wandb(with_media=False):
    os.environ.update(WANDB_MODE="offline", WANDB_SILENT="true")
    import wandb

    config = {"lr": 0.1, "layers": [1, 2], "opt": {"name": "adam"}, "big": 2**60, "text": "it's"}
    with wandb.init(project="digits", name="old", config=config, settings={"_disable_stats": True}) as run:
        for step in range(4):
            media = {"hist": wandb.Histogram([1.0, 2.0]), "table": wandb.Table(columns=["a"], data=[[1]])}
            values = {"loss": 1 / (step + 1), "acc": step, "flag": step > 2, "nest": {"a": step}, "note": f"step {step}"}
            run.log(values | (media if with_media else {}) | {"train/grad.norm": math.nan if step == 3 else math.inf})
        run.summary["best"] = 0.99


def mlflow():
    import mlflow

    mlflow.set_tracking_uri("sqlite:///mlflow.db")
    mlflow.set_experiment("digits")
    log_with_mlflow()


def log_with_mlflow():
    import mlflow

    with mlflow.start_run(run_name="first run"):
        mlflow.log_params({"lr": 0.1, "layers": [1, 2], "big": 2**60, "name": "it's", "flag": True, "none": None})
        mlflow.log_param("a/b.c", "x: y #z")
        for step in range(4):
            mlflow.log_metric("train/loss", 1 / (step + 1), step=step)
        mlflow.log_metric("train/loss", 9.0, step=3)
        mlflow.log_metric("nan", math.nan, step=1)
        mlflow.log_metric("inf", math.inf, step=2)
        mlflow.log_metric("inf", -math.inf, step=3)
        mlflow.log_metric("below", 1.0, step=-3)
        mlflow.set_tag("team", "vision")
    try:
        with mlflow.start_run(run_name="bad"):
            mlflow.log_metric("x", 1)
            raise ValueError
    except ValueError:
        pass


FLORDB = """
import flordb as flor, math
lr = flor.arg("lr", 0.1)
flor.log("device", "it's")
for epoch in flor.loop("epoch", range(3)):
    for batch in flor.loop("step", ["a", "b"]):
        flor.log("loss", 1 / (epoch + 1))
        flor.log("big", 2**60 + epoch)
    flor.log("acc", math.nan if epoch == 1 else epoch / 2)
    flor.log("conf", [[1, 2], [3, epoch]])
flor.log("best", math.inf)
for doc in flor.loop("doc", ["x.pdf", "y.pdf"]):
    flor.log("pages", len(doc))
"""


def flordb():
    import runpy

    with open("train.py", "w") as file:
        file.write(FLORDB)
    sys.argv = ["train.py"]
    runpy.run_path("train.py", run_name="__main__")


if __name__ == "__main__":
    os.makedirs(sys.argv[2], exist_ok=True)
    os.chdir(sys.argv[2])
    {"tensorboard": tensorboard, "wandb": wandb, "mlflow": mlflow, "flordb": flordb}[sys.argv[1]]()
