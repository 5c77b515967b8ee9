def train(first, second, judge, maker, loader):
    for real in loader:
        judge.zero_grad()
        loss_of_real = rate(judge(real), 1)
        fake = maker(real)
        loss_of_fake = rate(judge(fake), 0)
        hits = count(fake)

        loss = loss_of_real + loss_of_fake
        loss.backward()
        first.step()  # carry

        turns = 1
        while turns:
            maker.zero_grad()
            other = rate(judge(fake), 1)
            other.backward()
            second.step()
            turns -= 1

        loss_of_fake = rate(judge(fake), 0)
        loss = loss_of_real + loss_of_fake
        running += loss.item() * len(real)
        running_hits += hits
