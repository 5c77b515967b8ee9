def smoothness(pred_disp):
    total, weight = 0, 1.0
    for scaled_disp in pred_disp:
        dxx, dxy = gradient(dx)
        total += (dxx.abs().mean() + dxy.abs().mean()) * weight
        weight /= 2
    return total
