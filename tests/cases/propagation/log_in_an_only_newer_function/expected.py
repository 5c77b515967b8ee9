import flor_ray as flor
from train_tools import model, loader, train_step
def log_norms(model):
    for name, p in model.named_parameters():
        flor.log(name, p.norm())

for epoch in flor.loop("epoch", range(5)):
    for batch in flor.loop("step", loader):
        loss = train_step(model, batch)
    log_norms(model)
    print(epoch)
