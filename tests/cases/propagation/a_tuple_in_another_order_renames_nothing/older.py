from tools import filter_of, model

layer = model.layers[7]
high_, wide, a, b = layer.weight.size()
weight = filter_of(high_)
layer.weight = weight.view(high_, wide, 1, 1).repeat(1, 1, a, b)
