"""`python -m flor_ray.cli`: the command line without its script."""

from __future__ import annotations

from flor_ray.cli.commands import main

if __name__ == "__main__":
    main()
