"""A classifier, written straight down."""
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from tqdm import tqdm

lr = 0.05
batch_size = 16
epochs = 3
device = "cpu"

torch.manual_seed(7)
x = torch.randn(64, 8)
y = (x.sum(1) > 0).long()
loader = DataLoader(TensorDataset(x, y), batch_size=batch_size, shuffle=True)
model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2)).to(device)
optimizer = torch.optim.Adam(model.parameters(), lr=lr)
criterion = nn.CrossEntropyLoss()

best = 0.0
for epoch in tqdm(range(epochs)):
    for step, (inputs, labels) in enumerate(tqdm(loader, leave=False)):
        optimizer.zero_grad()
        loss = criterion(model(inputs), labels)
        loss.backward()
        optimizer.step()
    correct = 0
    for inputs, labels in loader:  # an evaluation, no nested loop
        correct += (model(inputs).argmax(1) == labels).sum().item()
    best = max(best, correct / len(x))
    # hindsight: flor.log("norm", sum(p.norm().item() for p in model.parameters()))
print("best", best)
