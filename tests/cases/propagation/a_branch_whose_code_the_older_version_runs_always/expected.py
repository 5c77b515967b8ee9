from torch.nn.functional import nll_loss


def train(model, loader, optimizer, squared):
    for points, labels, target in loader:
        optimizer.zero_grad()
        output, moved = model(points)
        output = output.contiguous().view(-1, 50)
        target = target.view(-1, 1)[:, 0]
        loss = nll_loss(output, target)
        if squared:
            loss += square(moved)
        history.append(loss.item())
        loss.backward()
        optimizer.step()
