import flor_ray as flor


class Rule:
    def apply(self, x):
        return x + 1


def harder(self, x):
    return x * 10


rule, acc = Rule(), 0
flor.checkpointing()
for epoch in flor.loop("epoch", range(5)):
    for step in flor.loop("step", range(2)):
        acc += rule.apply(step)
    if epoch == 1:
        Rule.apply = harder
    if epoch == 2:
        Rule.extra = harder
    flor.log("tail", [acc, rule.apply(3), hasattr(Rule, "extra")])
flor.log("suffix", [acc, rule.apply(3)])
