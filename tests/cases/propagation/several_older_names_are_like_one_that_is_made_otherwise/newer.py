class Head(Module):
    def forward(self, x):
        wide = self.attention(x)
        out = self.after(wide)  # carry
        out = cat([x, out])
        return self.project(out)
