from torch.nn.functional import nll_loss


def train(model, loader, optimizer, named):
    for points, labels, target in loader:
        optimizer.zero_grad()
        if named:
            guess, scores = model(points, labels)
            scores = scores.view(-1, 50)
            target = target.view(-1)
            loss = both(guess, labels, scores, target)
        else:
            scores = model(points, one_hot(labels, 16))
            scores = scores.contiguous().view(-1, 50)
            target = target.view(-1, 1)[:, 0]
            loss = nll_loss(scores, target)  # carry
        history.append(loss.item())
        loss.backward()
        optimizer.step()
