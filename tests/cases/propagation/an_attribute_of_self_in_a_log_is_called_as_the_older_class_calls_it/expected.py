import flor_ray as flor


class Trainer:
    def __init__(self, model, opt, loader):
        self.model = model
        self.opt = opt
        self.loader = loader

    def train_epoch(self):
        for batch in flor.loop("step", self.loader):
            loss = self.model(batch)
            self.opt.zero_grad()
            loss.backward()
            flor.log("norm", self.model.norm())
            self.opt.step()
