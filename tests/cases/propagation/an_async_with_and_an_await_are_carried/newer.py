async def serve(net, queue, store):
    async with store.session() as session:
        batch = await queue.get()
        logits = net(batch)
        await session.write(logits)  # carry
        queue.task_done()
