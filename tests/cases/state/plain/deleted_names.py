import flor_ray as flor


class Rule:
    limit = 3

    def apply(self, x):
        return x + self.limit if hasattr(self, "limit") else x


def note(x):
    note.calls += 1
    return x


def helper(x):
    return x * 2


def forget():
    global best
    del best


note.calls, best, rule, acc = 0, [1], Rule(), 0
rule.own = 4
flor.checkpointing()
for epoch in flor.loop("epoch", range(6)):
    for step in flor.loop("step", range(2)):
        acc += rule.apply(step) + getattr(rule, "own", 1)
    if epoch == 1:
        del Rule.limit
        forget()
    if epoch == 2:
        del rule.own, note.calls, helper
    if epoch == 3:
        Rule.limit, note.calls, best = 5, 2, [2]
    there = ["best" in globals(), "helper" in globals(), hasattr(Rule, "limit"), hasattr(note, "calls")]
    flor.log("tail", [acc, *there, hasattr(rule, "own")])
