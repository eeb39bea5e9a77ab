"""The fast path: the same encoders over packed tokens, without padding.

Tokens of many pixels lie one after another in a slab of a fixed number of rows. Everything that
works token by token runs on the whole slab; attention and pooling run on the pixels of equal
length together. Where the reference repeats a token, its weight stands in: the logarithm of how
often it occurs is added to its attention logit as a key and to its pooling logit.

The fixed number of rows, and one thread a slab, are what makes a pixel's bytes independent of
what it is computed with: matrix libraries choose how to sum by the shape they are given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.networks import Backbone, NormedLayer, PostNormLayer, Student


@dataclass(frozen=True)
class Group:
    """Pixels of equal sequence length, one after another in a slab.

    Parameters
    ----------
    start
        Row of the first token.
    pixels, length
        How many pixels, and tokens of each.
    log_weights : float32 (length,)
        Logarithm of how often each token counts; None where all count once.
    """

    start: int
    pixels: int
    length: int
    log_weights: Tensor | None

    @property
    def rows(self) -> slice:
        """Of the slab."""
        return slice(self.start, self.start + self.pixels * self.length)


@dataclass(frozen=True)
class Slab:
    """Packed tokens of one sensor.

    Parameters
    ----------
    values : float32 (rows, channels)
        Standardised bands; rows after the last group are padding.
    days : int64 (rows,)
        Days of the year.
    groups
        What the rows are.
    """

    values: Tensor
    days: Tensor
    groups: Sequence[Group]


class Affine:
    """A linear layer with its weights laid out once for the machine's matrix library."""

    def __init__(self, weight: Tensor, bias: Tensor, rows: int) -> None:
        weight = weight.detach().contiguous()
        self.packed = torch.ops.mkldnn._reorder_linear_weight(weight, rows)
        self.bias = bias.detach().contiguous()

    def __call__(self, x: Tensor, then: str = "none") -> Tensor:
        return torch.ops.mkldnn._linear_pointwise(x, self.packed, self.bias, then, [], "")


class Layer:
    """One transformer layer over a slab."""

    def __init__(self, layer: nn.Module, rows: int) -> None:
        self.pre_norm = False
        self.head_norms: tuple[Tensor, Tensor] | None = None
        if isinstance(layer, PostNormLayer):
            attention = layer.self_attn
            self.heads = attention.heads
            self.qkv = Affine(attention.in_proj_weight, attention.in_proj_bias, rows)
            self.out = Affine(attention.out_proj.weight, attention.out_proj.bias, rows)
        else:
            assert isinstance(layer, NormedLayer)
            self.heads, self.pre_norm = layer.heads, layer.pre_norm
            parts = (layer.q_proj, layer.k_proj, layer.v_proj)
            self.qkv = Affine(
                torch.cat([part.weight for part in parts]),
                torch.cat([part.bias for part in parts]),
                rows,
            )
            self.out = Affine(layer.out_proj.weight, layer.out_proj.bias, rows)
            self.head_norms = layer.q_norm.weight.detach(), layer.k_norm.weight.detach()
        self.wide = Affine(layer.linear1.weight, layer.linear1.bias, rows)
        self.narrow = Affine(layer.linear2.weight, layer.linear2.bias, rows)
        self.norm1, self.norm2 = layer.norm1, layer.norm2

    def __call__(self, x: Tensor, groups: Sequence[Group]) -> Tensor:
        if self.pre_norm:
            x = x + self.attention(self.norm1(x), groups)
            return x + self.narrow(self.wide(self.norm2(x), "relu"))
        x = self.norm1(x + self.attention(x, groups))
        return self.norm2(x + self.narrow(self.wide(x, "relu")))

    def attention(self, x: Tensor, groups: Sequence[Group]) -> Tensor:
        """Self-attention of each pixel over its own tokens."""
        rows, width = x.shape
        qkv = self.qkv(x).view(rows, 3, self.heads, width // self.heads)
        mixed = torch.zeros_like(x)
        for group in groups:
            part = qkv[group.rows].unflatten(0, (group.pixels, group.length))
            q, k, v = part.permute(2, 0, 3, 1, 4).unbind(0)
            if self.head_norms is not None:
                q, k = (
                    F.rms_norm(side, side.shape[-1:], weight)
                    for side, weight in zip((q, k), self.head_norms, strict=True)
                )
            mask = None if group.log_weights is None else group.log_weights[None, None, None]
            heads = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
            mixed[group.rows] = heads.transpose(1, 2).reshape(-1, width)
        return self.out(mixed)


class SensorPlan:
    """One sensor's backbone over slabs."""

    def __init__(self, backbone: Backbone, rows: int) -> None:
        first, _, second = backbone.embedding
        self.first = Affine(first.weight, first.bias, rows)
        self.second = Affine(second.weight, second.bias, rows)
        self.day_table = backbone.day_table
        transformer = backbone.transformer_encoder
        stack = transformer if isinstance(transformer, nn.Sequential) else transformer.layers
        self.layers = [Layer(layer, rows) for layer in stack]
        self.query = backbone.attn_pool.query.weight.detach()[0]

    def __call__(self, slab: Slab) -> Tensor:
        """Pooled vectors, float32 (pixels, width), in the order of the slab's groups."""
        x = self.second(self.first(slab.values, "relu")) + self.day_table[slab.days]
        for layer in self.layers:
            x = layer(x, slab.groups)
        # The query's bias adds the same to every token, which a softmax takes away again.
        logits = (x * self.query).sum(dim=-1)
        pooled = [self.pool(x[group.rows], logits[group.rows], group) for group in slab.groups]
        return torch.cat(pooled)

    @staticmethod
    def pool(x: Tensor, logits: Tensor, group: Group) -> Tensor:
        """Mean of each pixel's tokens, weighted by a softmax over its logits."""
        logits = logits.view(group.pixels, group.length)
        if group.log_weights is not None:
            logits = logits + group.log_weights
        weights = logits.softmax(dim=-1)
        return (weights[..., None] * x.view(group.pixels, group.length, -1)).sum(dim=1)


class Plan:
    """An encoder laid out for slabs of `rows` tokens and batches of `pixels` pixels."""

    def __init__(self, network: Student, rows: int, pixels: int) -> None:
        self.rows, self.pixels = rows, pixels
        self.s2 = SensorPlan(network.s2_backbone, rows)
        self.s1 = SensorPlan(network.s1_backbone, rows)
        first, self.norm, _, _, second, self.last_norm = network.dim_reducer
        self.first = Affine(first.weight, first.bias, pixels)
        self.second = Affine(second.weight, second.bias, pixels)

    def fuse(self, s2: Tensor, s1: Tensor) -> Tensor:
        """Embeddings, float32 (pixels, representation), of two sensors' vectors."""
        hidden = self.norm(self.first(torch.cat([s2, s1], dim=-1)))
        return self.last_norm(self.second(F.relu(hidden)))
