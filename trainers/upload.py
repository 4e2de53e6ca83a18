"""Copies to a device that nobody waits for."""

import torch
from torch import Tensor


def upload(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy a host tensor to a device; whatever is asked of the device later sees the copy.

    A plain ``to`` from pageable memory waits until a GPU has done all that it was asked before.
    """
    if device.type != "cuda" or tensor.is_cuda:
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def upload_like(tensor: Tensor, like: Tensor) -> Tensor:
    """Copy a tensor to where another is, in its type."""
    return upload(tensor.to(like.dtype), like.device)
