import flor_ray as flor
n, kind, err = 0, "", None
seen = {}
flor.checkpointing()
for epoch in flor.loop("epoch", range(5)):
    for step in flor.loop("step", range(3)):
        match (epoch, step):
            case (0, s): n += s
            case (e, *rest): n += e + len(rest)
        try:
            if step == epoch: raise ValueError(step)
            kind = "fine"
        except ValueError as problem:
            kind = "bad"; err = str(problem)
        finally:
            seen[epoch] = seen.get(epoch, 0) + 1
    flor.log("tail", [n, kind, err, len(seen)])
flor.log("suffix", [n, epoch, step])
