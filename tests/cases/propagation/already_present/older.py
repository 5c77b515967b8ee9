from flor_ray import MTK as Flor
from train_tools import model, loader, train_step

for epoch in Flor.loop(range(5)):
    for batch in Flor.loop(loader):
        l = train_step(model, batch)
        print(l)
        Flor.log("loss", float(l))
