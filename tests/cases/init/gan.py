import torch
import torch.nn as nn

latent_dim = 4
n_critic = 2
lr = 2e-3
torch.manual_seed(9)
generator = nn.Sequential(nn.Linear(latent_dim, 8), nn.ReLU(), nn.Linear(8, 2))
discriminator = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 1))
optimizer_G = torch.optim.Adam(generator.parameters(), lr=lr)
optimizer_D = torch.optim.Adam(discriminator.parameters(), lr=lr)
adversarial_loss = nn.BCEWithLogitsLoss()
real = torch.randn(24, 2) + 2

for epoch in range(3):
    for i, imgs in enumerate(real.split(8)):
        valid, fake = torch.ones(len(imgs), 1), torch.zeros(len(imgs), 1)
        for _ in range(n_critic):
            optimizer_D.zero_grad()
            made = generator(torch.randn(len(imgs), latent_dim)).detach()
            d_loss = adversarial_loss(discriminator(imgs), valid) + adversarial_loss(discriminator(made), fake)
            d_loss.backward()
            optimizer_D.step()
        optimizer_G.zero_grad()
        g_loss = adversarial_loss(discriminator(generator(torch.randn(len(imgs), latent_dim))), valid)
        g_loss.backward()
        optimizer_G.step()
    # hindsight: flor.log("norm", generator[0].weight.norm().item() + discriminator[0].weight.norm().item())
