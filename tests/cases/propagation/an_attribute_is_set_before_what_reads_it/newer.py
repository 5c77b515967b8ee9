class Trainer:
    def __init__(self, config, **given):
        if config["kind"] in LARGE:
            self.reader = given["reader"]
            self.schedule = given["schedule"]
            self.words = given["words"]
            self.examples = self.reader.examples(config["folder"])  # carry
        else:
            self.loader = given["loader"]
        self.config = config
