"""A GAN on eight Gaussians in a ring: generator and discriminator, each with its optimizer."""

import math

import torch
from torch import nn

import flor_ray as flor

epochs = flor.arg("epochs", 6)
steps = flor.arg("steps", 40)
batch_size = flor.arg("batch_size", 64)
latent_dim = flor.arg("latent", 8)
hidden = flor.arg("hidden", 64)
lr_g, lr_d = flor.arg("lr_g", 1e-3), flor.arg("lr_d", 5e-4)


def sample_ring(n):
    angle = torch.randint(8, (n,)) * (2 * math.pi / 8)
    centre = torch.stack([angle.cos(), angle.sin()], dim=1)
    return centre + 0.05 * torch.randn(n, 2)


generator = nn.Sequential(
    nn.Linear(latent_dim, hidden),
    nn.BatchNorm1d(hidden),
    nn.ReLU(),
    nn.Linear(hidden, hidden),
    nn.ReLU(),
    nn.Linear(hidden, 2),
)
discriminator = nn.Sequential(
    nn.utils.parametrizations.spectral_norm(nn.Linear(2, hidden)),
    nn.LeakyReLU(0.2),
    nn.Dropout(0.2),
    nn.Linear(hidden, 1),
)
optimizer_g = torch.optim.Adam(generator.parameters(), lr=lr_g, betas=(0.5, 0.999))
optimizer_d = torch.optim.Adam(discriminator.parameters(), lr=lr_d, betas=(0.5, 0.999))
criterion = nn.BCEWithLogitsLoss()
real_label, fake_label = torch.ones(batch_size, 1), torch.zeros(batch_size, 1)
fixed_noise = torch.randn(256, latent_dim)
ema = None

flor.checkpointing(generator=generator, discriminator=discriminator, opt_g=optimizer_g, opt_d=optimizer_d)
for epoch in flor.loop("epoch", range(epochs)):
    generator.train()
    for i in flor.loop("step", range(steps)):
        real = sample_ring(batch_size)

        # discriminator
        fake = generator(torch.randn(batch_size, latent_dim))
        optimizer_d.zero_grad()
        loss_d = criterion(discriminator(real), real_label) + criterion(discriminator(fake.detach()), fake_label)
        loss_d.backward()
        optimizer_d.step()

        # generator
        optimizer_g.zero_grad()
        loss_g = criterion(discriminator(fake), real_label)
        loss_g.backward()
        optimizer_g.step()

        ema = loss_g.item() if ema is None else 0.95 * ema + 0.05 * loss_g.item()
        flor.log("loss_d", loss_d.item())
        flor.log("loss_g", loss_g.item())

    generator.eval()
    with torch.no_grad():
        samples = generator(fixed_noise)
    radius = samples.norm(dim=1)
    flor.log("radius", radius.mean().item())
    flor.log("ema", ema)
    print(f"epoch {epoch + 1}/{epochs}: D {loss_d.item():.3f}, G {loss_g.item():.3f}, radius {radius.mean():.3f}")
