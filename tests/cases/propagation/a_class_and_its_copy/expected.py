import flor_ray as flor


class Generator:
    def __init__(self, scales, kernal_sizes):
        assert len(scales) % 2 == 1, "odd number of scales"
        flor.log("sizes", len(kernal_sizes))
        self.count = len(kernal_sizes)
        self.blocks = make_blocks(scales, kernal_sizes)
        self.output = make_output(self.count)
        self.reset()

    def reset(self):
        for block in self.blocks:
            initialise(block)
