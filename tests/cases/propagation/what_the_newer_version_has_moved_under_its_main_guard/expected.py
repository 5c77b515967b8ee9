import argparse

parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int)
parser.add_argument("--rate", type=float)
parser.add_argument("--quiet", action="store_true")
options = parser.parse_args()


def main():
    train(options.rate)


if __name__ == "__main__":
    main()
