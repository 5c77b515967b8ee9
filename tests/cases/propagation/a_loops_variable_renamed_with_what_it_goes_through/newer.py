def smoothness(pred_map):
    total, weight = 0, 1.0
    for scaled_map in pred_map:
        dx, dy = gradient(scaled_map)  # carry
        dxx, dxy = gradient(dx)
        total += (dxx.abs().mean() + dxy.abs().mean()) * weight
        weight /= 2.3
    return total
