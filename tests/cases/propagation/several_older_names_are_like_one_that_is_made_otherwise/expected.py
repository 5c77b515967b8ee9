class Head(Module):
    def forward(self, x):
        wide_first = self.collect(x)
        wide_second = self.spread(x)

        my_wide = cat([wide_first, wide_second])
        out = cat([x, out])
        return self.project(out)
