class Trainer:
    def training_step(self, batch, index):
        images, labels = batch
        scores = self(images)
        loss = self.criterion(scores, labels)
        return loss
