from contextlib import nullcontext


def train(loader, scheduler):
    for batch in loader:
        step(batch)
        context = nullcontext() if scheduler is None else scheduler.dampening()  # carry
        report(batch)
