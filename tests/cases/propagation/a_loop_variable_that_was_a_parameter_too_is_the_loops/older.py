class Words:
    def __init__(self, folder, train=True, lower=False):
        self.folder = folder
        self.lower = lower
        self.files = {}
        for half in ["train", "test"]:
            names = listing(folder, half)
            self.files[half] = names
