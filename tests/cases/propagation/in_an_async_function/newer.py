async def train(net, stream, optimizer):
    async for batch in stream:
        loss = net.loss(batch)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()  # carry
        await stream.acknowledge(batch)
