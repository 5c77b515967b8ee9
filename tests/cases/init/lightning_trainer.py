import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader


class Lit(L.LightningModule):
    def __init__(self, lr):
        super().__init__()
        self.net = nn.Linear(4, 1)
        self.lr = lr

    def training_step(self, batch, batch_idx):
        loss = self.net(batch).pow(2).mean()
        self.log("loss", loss)
        return loss

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=self.lr)


learning_rate = 0.1
trainer = L.Trainer(max_epochs=2, logger=False, enable_checkpointing=False)
trainer.fit(Lit(learning_rate), DataLoader(torch.randn(16, 4), batch_size=4))
