"""The loops are in another file."""
from lab.engine import fit
from lab.nets import build

if __name__ == "__main__":
    model, optimizer = build(width=8)
    fit(model, optimizer, epochs=3)
