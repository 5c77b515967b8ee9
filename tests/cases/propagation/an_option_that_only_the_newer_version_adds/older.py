import argparse

from tools import dump, load

parser = argparse.ArgumentParser()
parser.add_argument("-folder", required=True)
parser.add_argument("-output", required=True)
options = parser.parse_args()
data = load(options.folder)
with open(options.output, "w") as file:
    dump(file, data)
