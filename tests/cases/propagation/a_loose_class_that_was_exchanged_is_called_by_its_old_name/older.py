from ours import *

train = Loader(Pictures(folder, "train"), batch_size=8)
fit(net, train)
