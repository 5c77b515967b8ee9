import torch
from torch import nn


class Runner:
    def __init__(self, model, lr=0.1, amp=False):
        self.model = model
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=lr)
        self._build_scheduler()
        if amp:
            self.scaler = torch.amp.GradScaler()
        self.history = []

    def _build_scheduler(self):
        self.scheduler = torch.optim.lr_scheduler.StepLR(self.optimizer, 1, gamma=0.5)

    def train_epoch(self, loader):
        self.model.train()
        for batch in loader:
            self.optimizer.zero_grad()
            loss = self.model(batch).pow(2).mean()
            loss.backward()
            self.optimizer.step()
        return loss.item()

    @torch.no_grad()
    def evaluate(self, loader):
        self.model.eval()
        return sum(self.model(batch).sum().item() for batch in loader)

    def fit(self, loader, epochs):
        for epoch in range(epochs):
            self.history.append(self.train_epoch(loader))
            self.evaluate(loader)
            self.scheduler.step()
            # hindsight: flor.log("norm", self.model.weight.norm().item())


if __name__ == "__main__":
    torch.manual_seed(12)
    runner = Runner(nn.Linear(4, 1))
    runner.fit(torch.randn(16, 4).split(4), epochs=3)
    print(runner.history)
