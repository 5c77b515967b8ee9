class Tower(Module):
    def __init__(self, depth, classes, stretch=1, dropout=0.0):
        super().__init__()
        sizes = [16 * stretch, 32 * stretch]  # carry
        assert depth % 2 == 0
        self.head = Linear(sizes[1], classes)
