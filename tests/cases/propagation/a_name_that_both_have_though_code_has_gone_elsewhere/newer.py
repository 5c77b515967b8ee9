class Head(Module):
    def forward(self, x):
        wide = self.attention(x)
        out = self.after(wide)  # carry
        out = cat([x, out])
        return self.project(out)


class Attention(Module):
    def forward(self, x):
        first = self.collect(x)
        second = self.spread(x)
        both = cat([first, second])
        return both
