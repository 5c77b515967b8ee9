import argparse

from tools import dump, load

parser = argparse.ArgumentParser()
parser.add_argument("-folder", required=True)
parser.add_argument("-save_data", required=True)
options = parser.parse_args()
data = load(options.folder)
print("dumped to", options.save_data)  # carry
dump(data, options.save_data)
