from tools import Net, args, fit, loader

class State:
    step: int = 0
    best_acc: float = 0.0

state = State()
for epoch in range(args.epochs):
    score = fit(args.net, loader)
    print(epoch, state.best_acc)
