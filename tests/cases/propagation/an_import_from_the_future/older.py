"""Train."""

import os
