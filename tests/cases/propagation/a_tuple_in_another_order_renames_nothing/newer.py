from tools import filter_of, model

layer = model.layers[7]
a, b, high, wide = layer.weight.size()
assert high == wide  # carry
weight = filter_of(high)
layer.weight = weight.view(1, 1, high, wide).repeat(a, b, 1, 1)
