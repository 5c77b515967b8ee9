import flor_ray as flor

class Run:
    def go(self):
        self.loss = fit(self.net)
        self.show(self.loss)
        self.loss = check(self.net)
        self.show(self.loss)
