import flor_ray as flor
from tools import Brain, dataset, hparams

brain = Brain(hparams)
for epoch in flor.loop("epoch", range(hparams.epochs)):
    brain.label_encoder.reset()
    loss = brain.fit(dataset)
    brain.save(epoch)
