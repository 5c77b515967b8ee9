"""One step after another, each from several micro batches."""
import torch
from torch import nn

# what may be changed
max_iters = 6
gradient_accumulation_steps = 2
learning_rate = 6e-3
grad_clip = 1.0
# ---
torch.manual_seed(1337)
model = nn.Linear(4, 4)
optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate)


def get_batch():
    return torch.randn(8, 4)


iter_num = 0
X = get_batch()
while True:
    if iter_num % 3 == 0:
        with torch.no_grad():
            print(iter_num, sum(model(get_batch()).sum().item() for _ in range(2)))
    for micro_step in range(gradient_accumulation_steps):
        loss = model(X).pow(2).mean() / gradient_accumulation_steps
        X = get_batch()
        loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), grad_clip)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    # hindsight: flor.log("norm", model.weight.norm().item())
    iter_num += 1
    if iter_num > max_iters:
        break
