import flor_ray as flor
from train_tools import net, predict, truth, loader, step
import math
from sklearn.metrics import confusion_matrix

for epoch in flor.loop("epoch", range(5)):
    for batch in flor.loop("step", loader):
        loss = step(net, batch)
    preds = predict(net)
    cf = confusion_matrix(truth, preds)
    flor.log("cf", cf.tolist())
    flor.log("perplexity", math.exp(loss))
    print(preds.shape)
