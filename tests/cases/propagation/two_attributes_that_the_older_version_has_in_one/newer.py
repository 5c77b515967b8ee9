import flor_ray as flor

class Run:
    def go(self):
        self.train_loss = fit(self.net)
        self.show(self.train_loss)
        self.test_loss = check(self.net)
        self.show(self.test_loss)
        flor.log("gap", self.test_loss - self.train_loss)  # carry
