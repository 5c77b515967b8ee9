class Head(Module):
    def forward(self, x):
        wide_first = self.collect(x)
        wide_second = self.spread(x)

        wide = cat([wide_first, wide_second])
        out = self.after(wide)
        out = cat([x, out])
        return self.project(out)
