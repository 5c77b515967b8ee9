# code_made_in_loop
# Functions and classes that the loop makes or binds anew. What has their names when a replay enters the loop is something
# else: nothing, or what they took the place of.
# Conditions: {"where": ["epoch >= 4", null]}
import functools, math, cmath


def rule(v):
    return v + 1


def call(v):
    return rule(v)


class Model:
    def forward(self, v):
        return v + 1

    def other(self, v):
        return v * 5


class Sub(Model):
    pass


first, rules, table, lib, model, n = rule, [rule], {"r": rule}, math, Sub(), 1
flor.checkpointing()
for epoch in flor.loop("epoch", range(6)):
    n = call(n) % 1009
    if epoch == 1:

        @functools.wraps(rule)  # found by the name of the one before
        def wrapped(v, inner=rule):
            return inner(v) * 3

        rule = wrapped
    if epoch == 2:
        rules.append(rule)
        table["r"] = lambda v, e=epoch: v + e
        lib = cmath
    if epoch == 3:
        Model.forward = Model.other
    for step in flor.loop("step", range(2)):
        for each in rules:
            n = model.forward(each(n)) % 1013
    flor.log("n", n)
#H     flor.log("h", [rule(5), call(6), first(5), table["r"](7), repr(lib.sqrt(4)), model.forward(2)])
