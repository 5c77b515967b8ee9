import argparse

parser = argparse.ArgumentParser()
parser.add_argument("--width", type=int)
parser.add_argument("--speed", type=float)
net = make_net(args.width)


def main():
    train(net, args.speed)


if __name__ == "__main__":
    main()
