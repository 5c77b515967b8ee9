class Tower(Module):
    def __init__(self, depth, classes, width=1, dropout=0.0):
        super().__init__()
        assert depth % 2 == 0
        self.head = Linear(sizes[1], classes)
