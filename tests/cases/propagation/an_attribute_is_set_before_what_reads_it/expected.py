class Trainer:
    def __init__(self, config, **given):
        if config["kind"] in {"large", "base"}:
            name = "uncased" if config["kind"] == "large" else "cased"
            self.words = Words.open(name)
            self.reader = given["reader"]
            self.rate = config["rate"]
            self.examples = self.reader.examples(config["folder"])
            self.steps = int(len(self.examples) / config["batch"]) * config["epochs"]
        self.config = config
