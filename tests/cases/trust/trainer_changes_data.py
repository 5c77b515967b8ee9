# Expected: a data set of many small tensors is watched and not kept; what a callback changes in it is state all the same.
# Conditions: {"files": {".gitignore": "out\n"}, "where": ["epoch == 4", null]}
import torch
import flor_ray as flor
flor.autolog()
from transformers import Trainer, TrainerCallback, TrainingArguments
torch.manual_seed(1)
xs = torch.randn(1200, 8)
ys = xs.sum(1, keepdim=True)
class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = torch.nn.Linear(8, 1)
    def forward(self, x, labels=None):
        out = self.layers(x)
        return {"loss": ((out - labels) ** 2).mean(), "logits": out}
class Changes(TrainerCallback):
    def on_epoch_end(self, args, state, control, train_dataloader=None, **more):
        data[0]["x"] = data[0]["x"] * 2
        data[1]["labels"].mul_(0.5)
        data.append({"x": torch.ones(8), "labels": torch.ones(1)})
def metrics(prediction):
    error = float(((prediction.predictions - prediction.label_ids) ** 2).mean())
#H     flor.log("first", float(data[0]["x"].abs().sum()))
#H     flor.log("second", float(data[1]["labels"].abs().sum()))
#H     flor.log("long", len(data))
    return {"error": error}
data = [{"x": x, "labels": y} for x, y in zip(xs, ys)]
net = Net()
arguments = TrainingArguments("out", num_train_epochs=5, per_device_train_batch_size=150, learning_rate=0.01, use_cpu=True, save_strategy="no", report_to=[], eval_strategy="epoch", logging_steps=5, disable_tqdm=True)
Trainer(net, arguments, train_dataset=data, eval_dataset=data[:64], compute_metrics=metrics, callbacks=[Changes()]).train()
