from pathlib import Path


def prepare(args, stamp):
    out = Path("runs")
    out.mkdir(exist_ok=True)
    out = out.joinpath(stamp)
    out.mkdir(exist_ok=True)
    plots = out.joinpath("plots")
    plots.mkdir(exist_ok=True)
    tables = out.joinpath("tables")  # carry
    tables.mkdir(exist_ok=True)
    return plots, tables
