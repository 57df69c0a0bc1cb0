"""Owns whether kernels of a device can begin before the one before them has ended: programmatic dependent launch.

Every kernel waits for the one before it, before it reads what that wrote or writes anything, and only then lets the
next one begin: so whoever has waited may read whatever was written earlier still.
"""

from functools import cache

import torch


@cache
def overlaps(device: torch.device) -> bool:
    """Whether kernels on a device can overlap, as they can since compute capability 9."""
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= (9, 0)
