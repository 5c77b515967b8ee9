# not in checkpoints: __main__:Rule.<class>.scale
import flor_ray as flor


class Rule:
    @staticmethod
    def scale(x):
        return x


def main():
    acc = 0
    flor.checkpointing()
    for epoch in flor.loop("epoch", range(4)):
        for step in flor.loop("step", range(2)):
            acc += Rule.scale(-step)
        if epoch == 1:
            Rule.scale = staticmethod(abs)
        flor.log("tail", [acc, Rule.scale(-2)])


main()
