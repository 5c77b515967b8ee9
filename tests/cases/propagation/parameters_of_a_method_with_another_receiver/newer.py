class Trainer:
    def training_step(self, batch, batch_idx):
        x, y = batch
        logits = self(x)
        loss = self.criterion(logits, y)
        self.accuracy.update(logits, y)  # carry
        return loss
