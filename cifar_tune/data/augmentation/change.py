"""What an augmentation of values is, once it is drawn."""

from collections.abc import Callable

from torch import Tensor

Change = Callable[[Tensor, slice], Tensor]
"""Takes a batch, float32 [B, 3, H, W], and which images of the epoch it holds; returns it changed."""

Shares = Callable[[slice], Tensor]
"""Takes which images of the epoch a batch holds; returns how much of every pixel stays each image's own, the rest
coming from another image: float32 [B, H, W], 0 to 1."""
