async def train(model, stream, opt):
    async for batch in stream:
        loss = model.loss(batch)
        loss.backward()
        opt.step()
        await stream.acknowledge(batch)
