"""Which worker replays which segment, when, and what that costs. Pure: no Ray, clock, files, environment or chance.

costs      segment + recorded profile -> seconds, corrected by what replay really takes
splitting  long segments -> pieces that can be balanced
packing    pieces -> a schedule, with a lower bound to judge it by
dispatch   events -> instructions while the schedule is carried out
"""
