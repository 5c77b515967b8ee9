"""Train."""

from __future__ import annotations  # carry
import os
