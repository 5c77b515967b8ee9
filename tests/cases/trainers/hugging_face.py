# Conditions: {"files": {".gitignore": "out\n"}, "commands": ["PY train.py max_steps=21 dataloader_num_workers=1", "PY train.py num_train_epochs=3 gradient_accumulation_steps=3 lr_scheduler_type=cosine bf16=True eval_strategy=steps eval_steps=2", "PY train.py num_train_epochs=9 eval_strategy=epoch save_strategy=epoch load_best_model_at_end=True metric_for_best_model=loss", "PY train.py num_train_epochs=4 torch_compile=True torch_compile_backend=eager resume=out/checkpoint-8"]}
import ast
import sys

import flor_ray as flor

flor.autolog()
import torch
from transformers import EarlyStoppingCallback, Trainer, TrainerCallback, TrainingArguments

torch.manual_seed(1)
xs = torch.randn(64, 4)
ys = xs.sum(1, keepdim=True)


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Dropout(0.1), torch.nn.Linear(8, 1))

    def forward(self, x, labels=None):
        out = self.layers(x)
        return {"loss": ((out - labels) ** 2).mean(), "logits": out}


class Own(Trainer):
    def compute_loss(self, model, inputs, return_outputs=False, **more):
        self.rounds = getattr(self, "rounds", 0) + 1
#H         flor.log("in_step", model.layers[2].weight.norm().item() + self.rounds + inputs["x"].sum().item())
        return super().compute_loss(model, inputs, return_outputs, **more)


class Mine(TrainerCallback):
    def __init__(self):
        self.count = 0

    def on_epoch_begin(self, args, state, control, model=None, **kwargs):
        self.count += 1
#H         flor.log("at_begin", model.layers[0].weight.norm().item() + self.count)

    def on_epoch_end(self, args, state, control, model=None, lr_scheduler=None, **kwargs):
        self.count += 1
#H         flor.log("at_end", [model.layers[0].weight.norm().item() + self.count, lr_scheduler.get_last_lr()[0]])


given = dict(word.split("=") for word in sys.argv[1:])
given = {name: ast.literal_eval(value) if value[0].isdigit() or value == "True" else value for name, value in given.items()}
resumed = given.pop("resume", None)
args = TrainingArguments(
    "out", per_device_train_batch_size=8, learning_rate=0.01, use_cpu=True, report_to=[], disable_tqdm=True,
    logging_steps=3, **{"save_strategy": "no", **given},
)
data = [{"x": x, "labels": y} for x, y in zip(xs, ys)]
callbacks = [Mine(), *([EarlyStoppingCallback(1, 0.05)] if args.load_best_model_at_end else [])]
net = Net()
#H flor.log("before", net.layers[0].weight.norm().item())
trainer = Own(model=net, args=args, train_dataset=data, eval_dataset=data[:16], callbacks=callbacks)
trainer.train(resume_from_checkpoint=resumed)
#H flor.log("after", net.layers[0].weight.norm().item())
