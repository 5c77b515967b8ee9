import tools

backend = tools.choose(args)
backend.start()
for batch in loader:
    loss = step(batch)
    mean = backend.average(loss)  # carry
    if backend.is_root():
        print(loss)
