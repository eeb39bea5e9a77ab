"""Sharp imagery steered by embeddings: a module for anyone's backbone.

Embeddings of 10 m know what things are and blur where they end; imagery of 2 to 4 m knows the
edges. Structure-Semantic Decoupled Modulation (arXiv 2604.19591) keeps the two apart: similarity
of embeddings says who attends to whom, and their projection is added where features are deep.
The paper's exact formulas could not be read, and its code is not public: those below are our
reading of its text, and no result of the paper was reproduced with them.

    attention   A(s) = softmax(q k / sqrt(d) + s P),   P = cosine of two pixels' embeddings
    steering    x + (A(beta) v - A(0) v) W
    injection   x + gamma project(e)

Both begin at beta = gamma = 0, where a network is what it was without the module, to the bit.
"""

from __future__ import annotations

import math
from enum import StrEnum

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize, pad


class Steering(StrEnum):
    """What an embedding is let do."""

    NONE = "none"
    BIAS = "bias"
    """Similarity steers attention."""
    INJECT = "inject"
    """The projected embedding is added."""
    BOTH = "both"
    CONCAT = "concat"
    """Features and embedding side by side through one layer: what the others are compared with."""


class Modulation(nn.Module):
    """Features of an image, modulated by the embeddings of its ground.

    Parameters
    ----------
    channels
        Number of channels of the features, a multiple of `heads`.
    dims
        Number of values of an embedding.
    how
        What the embedding is let do.
    heads
        Number of heads of the attention.
    window
        Side of the squares of pixels that attend to each other.

    Raises
    ------
    ValueError
        If the channels are no multiple of the heads.

    Examples
    --------
    >>> module = Modulation(channels=8, dims=128)
    >>> features = torch.randn(1, 8, 16, 16)
    >>> torch.equal(module(features, torch.randn(1, 128, 16, 16)), features)
    True
    """

    def __init__(
        self,
        channels: int,
        dims: int,
        how: Steering = Steering.BOTH,
        heads: int = 4,
        window: int = 8,
    ) -> None:
        super().__init__()
        if channels % heads:
            raise ValueError(f"{channels} channels are no multiple of {heads} heads")
        self.how, self.heads, self.window = Steering(how), heads, window
        if self.how in (Steering.BIAS, Steering.BOTH):
            self.beta = nn.Parameter(torch.zeros(heads))
            self.to_qkv = nn.Linear(channels, 3 * channels, bias=False)
            self.out = nn.Linear(channels, channels, bias=False)
        if self.how in (Steering.INJECT, Steering.BOTH):
            self.gamma = nn.Parameter(torch.zeros(channels))
            self.project = nn.Conv2d(dims, channels, 1)
        if self.how is Steering.CONCAT:
            self.join = nn.Conv2d(channels + dims, channels, 1)
            with torch.no_grad():
                self.join.weight.zero_()
                self.join.weight[:, :channels, 0, 0] = torch.eye(channels)
                nn.init.zeros_(self.join.bias)  # type: ignore[arg-type]

    def forward(self, features: Tensor, embedding: Tensor | None) -> Tensor:
        """The features as the embedding changes them.

        Parameters
        ----------
        features : float (B, C, H, W)
            Of the image.
        embedding : float (B, D, H, W) or None
            On the same pixels (see `placing`), NaN where there is none; None where nothing is
            known of the whole image, which leaves the features as they are.
        """
        if embedding is None or self.how is Steering.NONE:
            return features
        known = torch.isfinite(embedding).all(dim=1, keepdim=True)
        values = torch.where(known, embedding, 0.0)
        if self.how is Steering.CONCAT:
            return torch.where(known, self.join(torch.cat([features, values], dim=1)), features)
        changed = features
        if self.how in (Steering.BIAS, Steering.BOTH):
            changed = changed + self._steered(features, normalize(values, dim=1))
        if self.how in (Steering.INJECT, Steering.BOTH):
            changed = changed + self.gamma[:, None, None] * self.project(values) * known
        return changed

    def _steered(self, features: Tensor, directions: Tensor) -> Tensor:
        """What similarity changes of the attention within windows: (B, C, H, W)."""
        height, width = features.shape[-2:]
        seen = torch.ones_like(features[:1, :1])
        pixels, alike, inside = map(self._windows, (features, directions, seen))
        q, k, v = (self._by_head(part) for part in self.to_qkv(pixels).chunk(3, dim=-1))
        logits = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
        beyond = (inside[..., 0] == 0)[:, None, None].repeat(len(features), 1, 1, 1)
        logits = logits.masked_fill(beyond, -torch.inf)
        similarity = (alike @ alike.transpose(-1, -2))[:, None]
        steered = (logits + self.beta[:, None, None] * similarity).softmax(-1)
        change = (steered - logits.softmax(-1)) @ v
        change = self.out(change.transpose(1, 2).flatten(2))
        return self._image(change, len(features), height, width)

    def _windows(self, image: Tensor) -> Tensor:
        """An image cut into windows: (B windows, pixels, C); zeros beyond its edges."""
        side = self.window
        height, width = image.shape[-2:]
        image = pad(image, (0, -width % side, 0, -height % side))
        batch, channels, rows, cols = image.shape
        cut = image.reshape(batch, channels, rows // side, side, cols // side, side)
        return cut.permute(0, 2, 4, 3, 5, 1).reshape(-1, side * side, channels)

    def _image(self, windows: Tensor, batch: int, height: int, width: int) -> Tensor:
        """The image that windows were cut from."""
        side, channels = self.window, windows.shape[-1]
        down, across = -(-height // side), -(-width // side)
        image = windows.reshape(batch, down, across, side, side, channels)
        image = image.permute(0, 5, 1, 3, 2, 4).reshape(batch, channels, down * side, across * side)
        return image[..., :height, :width]

    def _by_head(self, part: Tensor) -> Tensor:
        """(windows, pixels, C) as (windows, heads, pixels, C / heads)."""
        return part.unflatten(-1, (self.heads, -1)).transpose(1, 2)
