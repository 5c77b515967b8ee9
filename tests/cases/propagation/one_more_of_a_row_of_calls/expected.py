from tools import clock, is_first, tell


def train(epoch, writer, loader, meters, settings):
    start = clock()
    for batch in loader:
        step(batch)
    passed = clock() - start
    tell("{:.2f}".format(passed))

    if settings["board"]:
        writer.add("loss", meters.loss.avg, epoch)
        writer.add("hits 1", meters.first.avg, epoch)
        writer.add("time", passed, epoch)
