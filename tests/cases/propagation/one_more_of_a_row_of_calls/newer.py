from tools import clock, is_first, tell


def train(epoch, table, loader, meters):
    start = clock()
    for batch in loader:
        step(batch)
    rest()
    if is_first():
        passed = clock() - start
        tell(f"{passed:.2f}")

        table.add("loss", meters.loss.avg, epoch)
        table.add("hits 1", meters.first.avg, epoch)  # carry
        table.add("hits 5", meters.fifth.avg, epoch)
        table.add("time", passed, epoch)
