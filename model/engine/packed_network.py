"""The fast path: the encoders of `networks` over packed tokens, without padding.

Tokens of many pixels lie one after another in a slab. What works token by token runs on the
whole slab; attention and pooling run on the pixels of equal length together. Where the reference
repeats a token and order does not matter, a weight stands in: the logarithm of how often the
token occurs is added to its attention logit as a key and to its pooling logit.

On a CPU the number of rows of every product is fixed by the family, or by the sequence length
where the pool is recurrent, and each slab is computed by one thread. Matrix libraries choose how
to sum by the shape they are given and by their threads; so a pixel's bytes do not depend on what
it is computed with.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tessera_mosaic.model.engine.batches import Batches
from tessera_mosaic.model.engine.kernels import (
    Affine,
    HeadNorm,
    Norm,
    Place,
    Residual,
    attention,
    recurrence,
)
from tessera_mosaic.model.engine.packing import Tables
from tessera_mosaic.model.engine.slabs import Group, Slab
from tessera_mosaic.model.networks import (
    AttentionPool,
    Backbone,
    GruPool,
    Network,
    NormedLayer,
    PostNormLayer,
    RecurrentPool,
)


class Layer:
    """One transformer layer over a slab."""

    def __init__(self, layer: nn.Module, place: Place, rows: int) -> None:
        self.pre_norm = False
        self.head_norms: tuple[HeadNorm, HeadNorm] | None = None
        if isinstance(layer, PostNormLayer):
            mixing = layer.self_attn
            self.heads = mixing.heads
            self.qkv = Affine(mixing.in_proj_weight, mixing.in_proj_bias, place, rows)
            out = mixing.out_proj
        else:
            assert isinstance(layer, NormedLayer)
            self.heads, self.pre_norm = layer.heads, layer.pre_norm
            parts = (layer.q_proj, layer.k_proj, layer.v_proj)
            weight, bias = (
                torch.cat([getattr(part, name) for part in parts]) for name in ("weight", "bias")
            )
            self.qkv = Affine(weight, bias, place, rows)
            out = layer.out_proj
            self.head_norms = HeadNorm(layer.q_norm, place), HeadNorm(layer.k_norm, place)
        self.attend = attention(place)
        self.wide = Affine.of(layer.linear1, place, rows)
        self.out = Residual(out, layer.norm1, place, rows)
        self.narrow = Residual(layer.linear2, layer.norm2, place, rows)

    def __call__(self, x: Tensor, groups: Sequence[Group]) -> Tensor:
        if self.pre_norm:
            x = self.out.affine(self.mix(self.out.norm(x), groups), plus=x)
            return self.narrow.affine(self.wide(self.narrow.norm(x), relu=True), plus=x)
        x = self.out(self.mix(x, groups), around=x)
        return self.narrow(self.wide(x, relu=True), around=x)

    def mix(self, x: Tensor, groups: Sequence[Group]) -> Tensor:
        """Attention of each pixel over its own tokens, before the projection that follows."""
        rows, width = x.shape
        qkv = self.qkv(x).view(rows, 3, self.heads, width // self.heads)
        mixed = torch.zeros_like(x)
        for group in groups:
            part = qkv[group.rows].unflatten(0, (group.pixels, group.length))
            q, k, v = part.permute(2, 0, 3, 1, 4).unbind(0)
            if self.head_norms is not None:
                q, k = (norm(side) for norm, side in zip(self.head_norms, (q, k), strict=True))
            mask = group.log_weights
            if mask is not None:
                mask = mask.to(x.dtype)[None, None, None]
            heads = self.attend(q, k, v, attn_mask=mask)
            mixed[group.rows] = heads.transpose(1, 2).reshape(-1, width)
        return mixed


class Pool:
    """Each pixel's tokens to their mean, weighted by a softmax over time."""

    def __init__(self, pool: AttentionPool, place: Place, rows: int) -> None:
        self.query = place.put(pool.query.weight, torch.float32)[0]
        self.context = self.norm = None
        if isinstance(pool, RecurrentPool | GruPool):
            self.context = recurrence(pool.temporal_context, place, rows)
        if isinstance(pool, RecurrentPool):
            self.norm = Norm(pool.layer_norm, place)

    def __call__(self, x: Tensor, group: Group) -> Tensor:
        """Vectors of a group's pixels, float32 (pixels, width), of its tokens (rows, width)."""
        tokens = x.unflatten(0, (group.pixels, group.length))
        told = tokens
        if self.context is not None:
            told = self.context(tokens.transpose(0, 1).contiguous()).transpose(0, 1)
        if self.norm is not None:
            told = self.norm(told)
        # The query's bias adds the same to every token, which a softmax takes away again.
        logits = (told.float() * self.query).sum(dim=-1)
        if group.log_weights is not None:
            logits = logits + group.log_weights
        return (logits.softmax(dim=-1)[..., None] * tokens.float()).sum(dim=1)


class SensorPlan:
    """One sensor's backbone over slabs.

    Parameters
    ----------
    backbone
        The sensor's backbone, with its parameters.
    means, deviations : float32 (kinds, channels)
        Means and standard deviations, in stored units, by which tokens of each kind are
        standardised.
    place
        Device and precision to compute in.
    rows
        Number of tokens of a slab, as a hint for the layout.
    """

    def __init__(
        self, backbone: Backbone, means: Tensor, deviations: Tensor, place: Place, rows: int
    ) -> None:
        self.place = place
        self.means, self.deviations = (
            place.put(table, torch.float32) for table in (means, deviations)
        )
        first, second = backbone.embedding[0], backbone.embedding[2]
        assert isinstance(first, nn.Linear)
        assert isinstance(second, nn.Linear)
        self.first = Affine.of(first, place.exactly(), rows)
        self.second = Affine.of(second, place, rows)
        self.day_table = place.put(backbone.day_table, torch.float32)
        self.layers = [Layer(layer, place, rows) for layer in backbone.transformer_encoder]
        self.pool = Pool(backbone.attn_pool, place, rows)

    def __call__(self, slab: Slab) -> Tensor:
        """Vectors, float32 (pixels, width), in the order of the slab's groups."""
        values = (slab.values.float() - self.means[slab.kinds]) / self.deviations[slab.kinds]
        x = self.second(self.first(values, relu=True).to(self.place.dtype))
        x = (x + self.day_table[slab.days]).to(self.place.dtype)
        for layer in self.layers:
            x = layer(x, slab.groups)
        return torch.cat([self.pool(x[group.rows], group) for group in slab.groups])


class PackedNetwork:
    """An encoder laid out for a device.

    Parameters
    ----------
    network
        The encoder's definition, with its parameters.
    tables
        Means and standard deviations by kind of token, of Sentinel-2 and of Sentinel-1.
    place
        Device and precision to compute in.
    batches
        Numbers of tokens and pixels that will be computed at once, as a hint for the layout.
    """

    def __init__(
        self,
        network: Network,
        tables: tuple[Tables, Tables],
        place: Place,
        batches: Batches,
    ) -> None:
        s2, s1 = tables
        self.s2 = SensorPlan(network.s2_backbone, *s2, place, batches.rows)
        self.s1 = SensorPlan(network.s1_backbone, *s1, place, batches.rows)
        # Once a pixel rather than once a token, so float32 costs nothing and keeps the most.
        exact = place.exactly()
        self.head = [
            Affine.of(part, exact, batches.fused)
            if isinstance(part, nn.Linear)
            else Norm(part, exact)
            for part in network.dim_reducer
            if isinstance(part, nn.Linear | nn.LayerNorm)
        ]
        self.sensors: Tensor | None = None
        if network.family == "v2-teacher":
            self.sensors = exact.put(network.fusion_modality_embed)
            rows = 2 * batches.fused
            self.fusion = [Layer(layer, exact, rows) for layer in network.fusion_transformer]

    def fuse(self, s2: Tensor, s1: Tensor) -> Tensor:
        """Embeddings, float32 (pixels, representation), of both sensors' (pixels, width)."""
        vectors = torch.stack([s2, s1], dim=1)
        if self.sensors is not None:
            tokens = (vectors + self.sensors).flatten(0, 1)
            for layer in self.fusion:
                tokens = layer(tokens, [Group(0, len(vectors), 2)])
            vectors = tokens.view_as(vectors)
        x = vectors.flatten(1)
        for at, part in enumerate(self.head):
            # A ReLU follows the norm between the two linear layers, where there are two.
            x = part(x).relu_() if isinstance(part, Norm) and at == 1 else part(x)
        return x
