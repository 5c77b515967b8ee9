import math
import flor_ray as flor
from sklearn.metrics import confusion_matrix, f1_score
from train_tools import net, predict, truth, loader, step

for epoch in flor.loop("epoch", range(5)):
    for batch in flor.loop("step", loader):
        loss = step(net, batch)
    preds = predict(net)
    cf = confusion_matrix(truth, preds)
    flor.log("cf", cf.tolist())  # carry
    flor.log("perplexity", math.exp(loss))  # carry
