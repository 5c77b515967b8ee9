import flor_ray as flor


def run(net, ema, scaler, use_ema):
    for x in net:
        loss = net(x)
        if use_ema:
            flor.log("loss", loss)  # carry
            ema.update(net)
        done(loss)
