import flor_ray as flor


class Generator:
    def __init__(self, scales, kernel_sizes, causal=False):
        assert len(scales) % 2 == 1, "an odd number of scales"
        flor.log("sizes", len(kernel_sizes))  # carry
        self.count = len(kernel_sizes)
        self.causal = causal
        if causal:
            self.blocks = make_causal_blocks(scales, kernel_sizes)
        else:
            self.blocks = make_blocks(scales, kernel_sizes, bias=True)
        self.output = make_output(self.count, causal)
        self.reset()

    def reset(self):
        for block in self.blocks:
            initialise(block)


class SymbolGenerator:
    def __init__(self, symbols, scales, kernel_sizes):
        assert len(scales) % 2 == 1, "odd number of scales"
        self.count = len(kernel_sizes)
        self.embedding = make_embedding(symbols)
        self.blocks = make_blocks(scales, kernel_sizes)
        self.output = make_output(self.count)
        self.reset()

    def reset(self):
        for block in self.blocks:
            initialise(block)
