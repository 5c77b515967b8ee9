import argparse

from tools import Net, train

parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float, default=0.1)
parser.add_argument("--epochs", type=int, default=10)
opt = parser.parse_args()

net = Net()
train(net, lr=opt.lr, epochs=opt.epochs)
