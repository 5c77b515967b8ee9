class Words:
    def __init__(self, folder, part="train", lower=False):
        self.folder = folder
        self.lower = lower
        self.files = {}
        for part in ["train", "test"]:
            names = listing(folder, part)
            print("part", part, names)  # carry
            self.files[part] = names
