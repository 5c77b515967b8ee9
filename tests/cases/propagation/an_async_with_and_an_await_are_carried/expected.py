async def serve(model, queue, store):
    async with store.session() as session:
        batch = await queue.get()
        outputs = model(batch)
        await session.write(outputs)
        queue.task_done()
