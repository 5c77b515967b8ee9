"""Which worker replays which segment, when, and what that costs. Pure: no Ray, clock, files, environment or chance.

costs        a segment + what was recorded -> work: epochs, reads, seconds of the recorded run
calibration  work -> seconds on a class of workers, learned from the segments that come back
priorities   epochs, versions, queries -> ranks: what comes first
budget       segments, ranks, a budget or a deadline -> as much of them as fits (`allowance`)
problem      what a schedule is made for: workers (slots), and where and how segments can be cut
splitting    long segments -> pieces that can be balanced, packed
packing      pieces -> a schedule (`constructing`, `filling`, `completing`, `searching`, `bins`)
bounds       seconds below which no schedule can end, with proofs
tradeoff     makespan and worker time on 1, 2, 3, ... workers, and the knee
dispatch     events -> instructions (`messages`) while a schedule is carried out (`jobs`, `floor`, `helping`)
simulate     the same dispatcher in virtual time, in a `world` that is less than perfect
"""
