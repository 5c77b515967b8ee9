"""`HuggingFaceCallback` and `LightningCallback`, under the name that users' scripts import them by.

Recorded versions import this module when they are replayed: its name stays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flor_ray.automatic import integrations

if TYPE_CHECKING:
    from flor_ray.automatic.integrations import HuggingFaceCallback, LightningCallback

__all__ = ["HuggingFaceCallback", "LightningCallback"]


def __getattr__(name: str) -> object:
    return getattr(integrations, name)
