from tools import args, loader
class Net:
    def forward(self, x):
        return x * self.scale
    def freeze(self):
        self.scale.requires_grad = False
    def half(self):
        self.scale = self.scale.half()
