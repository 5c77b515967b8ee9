async def train(model, stream, opt):
    async for batch in stream:
        loss = model.loss(batch)
        loss.backward()
        opt.step()
        opt.zero_grad()
        await stream.acknowledge(batch)
