# Conditions: {"files": {".gitignore": "out\n"}, "commands": ["PY train.py max_steps=19 accumulate_grad_batches=3 precision=bf16-mixed", "PY train.py max_epochs=9 check_val_every_n_epoch=1 early=1 csv=1", "PY train.py max_epochs=4 val_check_interval=0.5 enable_checkpointing=True default_root_dir=out workers=1"]}
import ast
import sys

import flor_ray as flor

flor.autolog()
import lightning.pytorch as L
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(1)
xs = torch.randn(64, 4)
ys = xs.sum(1, keepdim=True)


class Net(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Dropout(0.1), torch.nn.Linear(8, 1))
        self.rounds = 0
        self.errors = []

    def training_step(self, batch, index):
        self.rounds += 1
        loss = ((self.layers(batch[0]) - batch[1]) ** 2).mean()
#H         flor.log("in_step", self.layers[2].weight.norm().item() + self.rounds + loss.item())
        self.log("loss", loss, on_epoch=True)
        return loss

    def validation_step(self, batch, index):
        error = ((self.layers(batch[0]) - batch[1]) ** 2).mean()
        self.errors.append(error.item())
        self.log("val_error", error)

    def on_validation_epoch_end(self):
        error = sum(self.errors)
#H         flor.log("validated", error + self.layers[2].weight.norm().item())
        self.errors.clear()

    def on_train_epoch_start(self):
        self.rounds += 1
#H         flor.log("at_begin", self.layers[2].weight.norm().item() + self.rounds)

    def on_train_epoch_end(self):
        self.rounds += 1
#H         flor.log("at_end", [self.layers[2].weight.norm().item() + self.rounds, self.lr_schedulers().get_last_lr()[0]])

    def configure_optimizers(self):
        optimizer = torch.optim.AdamW(self.parameters(), lr=0.01)
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 2, 0.9)]


class Mine(L.Callback):
    def __init__(self):
        self.count = 0

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.count += 1
#H         flor.log("counted", self.count + float(outputs["loss"]))


given = dict(word.split("=") for word in sys.argv[1:])
given = {name: ast.literal_eval(value) if value[0].isdigit() or value == "True" else value for name, value in given.items()}
callbacks = [Mine()]
if given.pop("early", 0):
    callbacks.append(EarlyStopping("val_error", min_delta=0.3, patience=1))
if given.get("enable_checkpointing"):
    callbacks.append(ModelCheckpoint(monitor="val_error", save_last=True))
workers = given.pop("workers", 0)
logger = CSVLogger("out") if given.pop("csv", 0) else False
loader = DataLoader(TensorDataset(xs, ys), batch_size=8, shuffle=True, num_workers=workers)
checks = DataLoader(TensorDataset(xs, ys), batch_size=32)
net = Net()
#H flor.log("before", net.layers[0].weight.norm().item())
trainer = L.Trainer(
    accelerator="cpu", logger=logger, enable_progress_bar=False, enable_model_summary=False, log_every_n_steps=3,
    callbacks=callbacks, **{"enable_checkpointing": False, **given},
)
trainer.fit(net, loader, checks)
#H flor.log("after", net.layers[0].weight.norm().item())
