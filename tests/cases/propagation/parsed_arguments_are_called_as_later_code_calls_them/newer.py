import argparse

from tools import Net, train

parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float, default=0.1)
parser.add_argument("--epochs", type=int, default=10)
args = parser.parse_args()  # carry

net = Net()
train(net, lr=args.lr, epochs=args.epochs)
