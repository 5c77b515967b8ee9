from tools import args, loader
class Net:
    def forward(self, x):
        return x * self.scale
    def freeze(self):  # carry
        self.scale.requires_grad = False
    def half(self):
        self.scale = self.scale.half()
