from tools import Net, args, fit, loader

class State:
    step: int = 0
    best_score: float = 0.0

state = State()
for epoch in range(args.epochs):
    score = fit(args.net, loader)
    state.best_score = max(state.best_score, score)  # carry
    print(epoch, state.best_score)
