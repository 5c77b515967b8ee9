from ours import *

train = Loader(Captions(folder, "train"), batch_size=8)
valid = Loader(Captions(folder, "valid"), batch_size=8)  # carry
fit(net, train)
