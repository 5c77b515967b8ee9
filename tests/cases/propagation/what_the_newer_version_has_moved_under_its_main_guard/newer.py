import argparse


def main(options):
    train(options.rate)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--batch", type=int)
    parser.add_argument("--workers", type=int)
    parser.add_argument("--rate", type=float)  # carry
    parser.add_argument("--rate-end", type=float)
    parser.add_argument("--sync", type=bool)

    parser.add_argument("--weights", type=str)
    parser.add_argument("--freeze", type=bool)

    parser.add_argument("--device", type=str)
    options = parser.parse_args()
    main(options)
