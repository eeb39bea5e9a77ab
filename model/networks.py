"""The encoder families, as PyTorch modules whose parameters carry the published names.

These are the definition: they are what a checkpoint is loaded into, what training trains, and
what the fast path of `inference` is measured against. Tokens come padded to one length, the way
the TESSERA reference runs them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

S2_CHANNELS, S1_CHANNELS = 10, 2

DAYS = 367
"""Days of the year 1 to 366, and 0 for a sensor that saw nothing."""


@dataclass(frozen=True)
class Sizes:
    """Sizes of an encoder.

    Parameters
    ----------
    latent
        A quarter of the transformer's width.
    layers, heads, feedforward
        Of each sensor's transformer.
    representation
        Values of an embedding.
    qk_norm
        Whether queries and keys are normalised (v2 students).
    """

    latent: int
    layers: int
    heads: int
    feedforward: int
    representation: int
    qk_norm: bool = False

    @property
    def width(self) -> int:
        """Of the transformer."""
        return 4 * self.latent


def day_encoding(width: int) -> Tensor:
    """Sinusoids of the raw day of year, float32 (367, width); row 0 stands for no observation."""
    # The reference computes in float32 throughout, and so does this.
    frequency = torch.exp(torch.arange(0, width, 2) * (-math.log(10_000.0) / width))
    angle = torch.arange(DAYS, dtype=torch.float32)[:, None] * frequency
    return torch.stack([angle.sin(), angle.cos()], dim=-1).reshape(DAYS, width)


class Attention(nn.Module):
    """Self-attention with one fused projection, in the layout of `nn.MultiheadAttention`."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.in_proj_weight)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = F.linear(x, self.in_proj_weight, self.in_proj_bias).chunk(3, dim=-1)
        return self.out_proj(attend(q, k, v, self.heads))


def attend(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
    """Scaled dot-product attention of (B, T, D) over T, in `heads` parts of D."""
    q, k, v = (part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(-2)


class PostNormLayer(nn.Module):
    """The layer of v1 and of the v2 students: normalise after each residual sum."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        width = sizes.width
        self.self_attn = Attention(width, sizes.heads)
        self.linear1 = nn.Linear(width, sizes.feedforward)
        self.linear2 = nn.Linear(sizes.feedforward, width)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm1(x + self.self_attn(x))
        return self.norm2(x + self.linear2(F.relu(self.linear1(x))))


class NormedLayer(nn.Module):
    """A layer with normalised queries and keys, per head: of the teacher, and of QK-norm students.

    Parameters
    ----------
    width, heads, feedforward
        Sizes.
    pre_norm
        Normalise before each block (teacher) rather than after each residual sum (student).
    """

    def __init__(self, width: int, heads: int, feedforward: int, pre_norm: bool) -> None:
        super().__init__()
        self.heads, self.pre_norm = heads, pre_norm
        self.q_proj, self.k_proj = nn.Linear(width, width), nn.Linear(width, width)
        self.v_proj, self.out_proj = nn.Linear(width, width), nn.Linear(width, width)
        self.q_norm, self.k_norm = nn.RMSNorm(width // heads), nn.RMSNorm(width // heads)
        self.linear1 = nn.Linear(width, feedforward)
        self.linear2 = nn.Linear(feedforward, width)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        if self.pre_norm:
            x = x + self.attention(self.norm1(x))
            return x + self.linear2(F.relu(self.linear1(self.norm2(x))))
        x = self.norm1(x + self.attention(x))
        return self.norm2(x + self.linear2(F.relu(self.linear1(x))))

    def attention(self, x: Tensor) -> Tensor:
        q, k = (
            norm(part.unflatten(-1, (self.heads, -1)).float()).flatten(-2).to(part.dtype)
            for norm, part in ((self.q_norm, self.q_proj(x)), (self.k_norm, self.k_proj(x)))
        )
        return self.out_proj(attend(q, k, self.v_proj(x), self.heads))


class Layers(nn.Module):
    """Layers under the name that `nn.TransformerEncoder` gives them."""

    def __init__(self, layers: list[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


class AttentionPool(nn.Module):
    """A sequence to one vector: the mean of its tokens, weighted by a softmax over time."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query = nn.Linear(width, 1)

    def forward(self, x: Tensor) -> Tensor:
        weights = self.query(x).softmax(dim=1)
        return (weights * x).sum(dim=1)


class Backbone(nn.Module):
    """One sensor's year to one vector.

    Parameters
    ----------
    channels
        Bands of a token.
    width
        Of the transformer.
    transformer, pool
        What follows the embedding of tokens.
    """

    day_table: Tensor

    def __init__(self, channels: int, width: int, transformer: nn.Module, pool: nn.Module) -> None:
        super().__init__()
        self.embedding = nn.Sequential(
            nn.Linear(channels, width), nn.ReLU(), nn.Linear(width, width)
        )
        self.transformer_encoder = transformer
        self.attn_pool = pool
        self.register_buffer("day_table", day_encoding(width), persistent=False)

    def reset_days(self) -> None:
        """Compute the table of days, which is no parameter and in no checkpoint."""
        self.day_table = day_encoding(self.day_table.shape[1])

    def forward(self, tokens: Tensor) -> Tensor:
        """float32 (B, T, channels + 1), the last channel the day of year, to (B, width)."""
        x = self.embedding(tokens[..., :-1]) + self.day_table[tokens[..., -1].long()]
        return self.attn_pool(self.transformer_encoder(x))


class Student(nn.Module):
    """TESSERA v2 student."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.sizes = sizes
        width = sizes.width
        self.s2_backbone = Backbone(
            S2_CHANNELS, width, _student_layers(sizes), AttentionPool(width)
        )
        self.s1_backbone = Backbone(
            S1_CHANNELS, width, _student_layers(sizes), AttentionPool(width)
        )
        self.dim_reducer = nn.Sequential(
            nn.Linear(2 * width, 4 * width),
            nn.LayerNorm(4 * width),
            nn.ReLU(),
            nn.Dropout(0.0),
            nn.Linear(4 * width, sizes.representation),
            nn.LayerNorm(sizes.representation, elementwise_affine=False),
        )

    def forward(self, s2: Tensor, s1: Tensor) -> Tensor:
        """float32 (B, T2, 11) and (B, T1, 3) tokens to (B, representation) embeddings."""
        return self.dim_reducer(torch.cat([self.s2_backbone(s2), self.s1_backbone(s1)], dim=-1))


def _student_layers(sizes: Sizes) -> nn.Module:
    if sizes.qk_norm:
        return nn.Sequential(
            *(
                NormedLayer(sizes.width, sizes.heads, sizes.feedforward, pre_norm=False)
                for _ in range(sizes.layers)
            )
        )
    return Layers([PostNormLayer(sizes) for _ in range(sizes.layers)])
