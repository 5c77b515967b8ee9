import flor_ray as flor


def run(net, ema, scaler, use_amp):
    for x in net:
        loss = net(x)
        if use_amp:
            scaler.update(loss)
        done(loss)
