import click
import torch
from torch import nn


@click.command()
@click.option("--lr", default=0.1)
@click.option("--epochs", default=3)
def main(lr: float, epochs: int) -> None:
    """Train."""
    torch.manual_seed(0)
    net = nn.Linear(4, 1)
    opt = torch.optim.SGD(net.parameters(), lr=lr)
    data = torch.randn(20, 4)
    for epoch in range(epochs):
        for row in data.split(5):
            loss = net(row).pow(2).mean()
            opt.zero_grad()
            loss.backward()
            opt.step()
        click.echo(f"{epoch} {loss.item()}")
        # hindsight: flor.log("norm", net.weight.norm().item())


if __name__ == "__main__":
    main()
