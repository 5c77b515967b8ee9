from tools import Net, SGD, args, criterion, loader


def make_step(model, opt):
    def step(x, y):
        opt.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        model.clip(args.clip)
        opt.step()
        return loss

    return step
