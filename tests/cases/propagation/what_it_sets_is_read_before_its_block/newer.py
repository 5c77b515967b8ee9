import argparse


def main(args):
    net = make_net(args.width)
    train(net, args.rate)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--width", type=int)
    parser.add_argument("--rate", type=float)
    args = parser.parse_args()  # carry
    main(args)
