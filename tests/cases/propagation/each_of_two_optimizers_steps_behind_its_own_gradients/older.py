def train(first, second, judge, maker, loader):
    for real in loader:
        loss_of_real = rate(judge(real), 1)
        fake = maker(real)
        loss_of_fake = rate(judge(fake), 0)
        hits = count(fake)
        running_hits += hits

        loss = loss_of_real + loss_of_fake
        running += loss.item() * len(real)
        first.zero_grad()
        loss.backward(retain_graph=True)

        other = rate(judge(fake), 1)
        running_other += other.item() * len(real)
        second.zero_grad()
        other.backward()
        second.step()
