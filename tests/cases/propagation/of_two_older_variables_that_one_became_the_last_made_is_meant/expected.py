from pathlib import Path


def prepare(args, stamp):
    base = Path("runs")
    base.mkdir(exist_ok=True)
    folder = Path(str(base) + "/" + stamp)
    folder.mkdir(exist_ok=True)
    plots = folder.joinpath("plots")
    plots.mkdir(exist_ok=True)
    tables = folder.joinpath("tables")
    tables.mkdir(exist_ok=True)
    return plots, tables
