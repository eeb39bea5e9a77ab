"""The encoder families, as PyTorch modules whose parameters carry the published names.

These are the definition: what a checkpoint is loaded into, what training trains, and what the
fast path of `engine` is compared with. Tokens come padded to one length, the way the TESSERA
reference runs them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tessera_mosaic.model.sizes import Family, Sizes

S2_CHANNELS, S1_CHANNELS = 10, 2
"""Channels of a token: bands of Sentinel-2, polarisations of Sentinel-1."""

DAYS = 367
"""Days of the year 1 to 366, and 0 for a sensor that saw nothing."""

FUSION_LAYERS = 2
"""Layers with which the teacher fuses its two sensors, twice as wide inside as outside."""


def day_encoding(width: int) -> Tensor:
    """Sinusoids of the raw day of year, float32 (367, width); row 0 stands for no observation."""
    # The reference computes in float32 throughout, and so does this.
    frequency = torch.exp(torch.arange(0, width, 2) * (-math.log(10_000.0) / width))
    angle = torch.arange(DAYS, dtype=torch.float32)[:, None] * frequency
    return torch.stack([angle.sin(), angle.cos()], dim=-1).reshape(DAYS, width)


def attend(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
    """Scaled dot-product attention of (B, T, D) over T, in `heads` parts of D."""
    q, k, v = (part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(-2)


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
    """A layer that normalises queries and keys, per head: the teacher's, and QK-norm students'.

    Parameters
    ----------
    width, heads, feedforward
        Number of features of a token, of attention heads, and of features inside the feed-forward
        block.
    pre_norm
        Whether to normalise before each block (teacher) rather than after each residual sum
        (student).
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

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def __iter__(self) -> Iterator[nn.Module]:
        return iter(self.layers)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


class ResetFirstCell(nn.Module):
    """One step of the recurrence of v1.0 and v1.1.

    Unlike `nn.GRU`, the reset gate acts on the state before the product, and the update gate
    weighs the new state rather than the old one.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.W_ir, self.W_iz, self.W_ih, self.W_hr, self.W_hz, self.W_hh = (
            nn.Linear(width, width, bias=False) for _ in range(6)
        )
        self.b_r, self.b_z, self.b_h = (nn.Parameter(torch.zeros(width)) for _ in range(3))

    def forward(self, x: Tensor, state: Tensor) -> Tensor:
        reset = torch.sigmoid(self.W_ir(x) + self.W_hr(state) + self.b_r)
        update = torch.sigmoid(self.W_iz(x) + self.W_hz(state) + self.b_z)
        new = torch.tanh(self.W_ih(x) + self.W_hh(reset * state) + self.b_h)
        return (1 - update) * state + update * new


class ResetFirstGru(nn.Module):
    """The recurrence of v1.0 and v1.1 over a sequence, from a state of zeros."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gru_cell = ResetFirstCell(width)

    def forward(self, x: Tensor) -> Tensor:
        state = torch.zeros_like(x[:, 0])
        states = []
        for step in x.unbind(dim=1):
            state = self.gru_cell(step, state)
            states.append(state)
        return torch.stack(states, dim=1)


class AttentionPool(nn.Module):
    """A sequence to one vector: the mean of its tokens, weighted by a softmax over time (v2)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query = nn.Linear(width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return (self.query(self.context(x)).softmax(dim=1) * x).sum(dim=1)

    def context(self, x: Tensor) -> Tensor:
        """What the weights are read from; here the tokens themselves."""
        return x


class RecurrentPool(AttentionPool):
    """The same, with weights read from a recurrence over the sequence (v1.0 and v1.1)."""

    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.temporal_context = ResetFirstGru(width)
        self.layer_norm = nn.LayerNorm(width)

    def context(self, x: Tensor) -> Tensor:
        return self.layer_norm(self.temporal_context(x))


class GruPool(AttentionPool):
    """The same, with weights read from PyTorch's own GRU (v1.0 before quantization)."""

    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.temporal_context = nn.GRU(width, width, batch_first=True)

    def context(self, x: Tensor) -> Tensor:
        return self.temporal_context(x)[0]


POOLS: dict[Family, type[AttentionPool]] = {
    "v1.0-float": GruPool,
    "v1.0": RecurrentPool,
    "v1.1": RecurrentPool,
    "v2": AttentionPool,
    "v2-teacher": AttentionPool,
}
"""The pool of each family."""


class Backbone(nn.Module):
    """One sensor's year to one vector.

    Parameters
    ----------
    channels
        Number of channels of a token, without the day of the year.
    family, sizes
        Family and sizes of the encoder.
    """

    day_table: Tensor

    def __init__(self, channels: int, family: Family, sizes: Sizes) -> None:
        super().__init__()
        width = sizes.width
        self.embedding = nn.Sequential(
            nn.Linear(channels, width), nn.ReLU(), nn.Linear(width, width)
        )
        self.transformer_encoder = _transformer(family, sizes)
        self.attn_pool = POOLS[family](width)
        self.register_buffer("day_table", day_encoding(width), persistent=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Vectors, float32 (B, width), of B pixels.

        Parameters
        ----------
        tokens : float32 (B, T, channels + 1)
            T standardised tokens a pixel; the last channel is the day of the year, 1 to 366, or 0
            for a sensor that saw nothing.
        """
        x = self.embedding(tokens[..., :-1]) + self.day_table[tokens[..., -1].long()]
        return self.attn_pool(self.transformer_encoder(x))


def _transformer(family: Family, sizes: Sizes) -> Layers | nn.Sequential:
    if family != "v2-teacher" and not sizes.qk_norm:
        return Layers(*(PostNormLayer(sizes) for _ in range(sizes.layers)))
    teacher = family == "v2-teacher"
    layers = (
        NormedLayer(sizes.width, sizes.heads, sizes.feedforward, pre_norm=teacher)
        for _ in range(sizes.layers)
    )
    # Published QK-norm students number their layers without the extra name.
    return Layers(*layers) if teacher else nn.Sequential(*layers)


def _reducer(family: Family, sizes: Sizes) -> nn.Sequential:
    """The head that turns both sensors' vectors into an embedding."""
    width = sizes.width
    if family in ("v1.0-float", "v1.0"):
        return nn.Sequential(nn.Linear(2 * width, sizes.representation))
    head = [
        nn.Linear(2 * width, 4 * width),
        nn.LayerNorm(4 * width),
        nn.ReLU(),
        nn.Dropout(0.0),
        nn.Linear(4 * width, sizes.representation),
    ]
    if family != "v1.1":
        head.append(nn.LayerNorm(sizes.representation, elementwise_affine=False))
    return nn.Sequential(*head)


class Network(nn.Module):
    """An encoder: a backbone a sensor, and a head over both.

    Parameters
    ----------
    family, sizes
        Family and sizes of the encoder.
    """

    def __init__(self, family: Family, sizes: Sizes) -> None:
        super().__init__()
        self.family, self.sizes = family, sizes
        self.s2_backbone = Backbone(S2_CHANNELS, family, sizes)
        self.s1_backbone = Backbone(S1_CHANNELS, family, sizes)
        self.dim_reducer = _reducer(family, sizes)
        if family == "v2-teacher":
            self.fusion_modality_embed = nn.Parameter(torch.zeros(2, sizes.width))
            self.fusion_transformer = Layers(
                *(
                    NormedLayer(sizes.width, sizes.heads, 2 * sizes.width, pre_norm=True)
                    for _ in range(FUSION_LAYERS)
                )
            )

    def forward(self, s2: Tensor, s1: Tensor) -> Tensor:
        """Embeddings, float32 (B, representation), of B pixels.

        Parameters
        ----------
        s2, s1 : float32 (B, T2, 11), (B, T1, 3)
            Standardised tokens of each sensor; the last channel is the day of the year.
        """
        vectors = torch.stack([self.s2_backbone(s2), self.s1_backbone(s1)], dim=1)
        if self.family == "v2-teacher":
            vectors = self.fusion_transformer(vectors + self.fusion_modality_embed)
        return self.dim_reducer(vectors.flatten(1))


def empty_network(family: Family, sizes: Sizes) -> Network:
    """A network without storage: names, shapes and counts of parameters, however many."""
    with torch.device("meta"):
        return Network(family, sizes)


def parameter_count(family: Family, sizes: Sizes) -> int:
    """Number of an encoder's parameters, counted without allocating them.

    Parameters
    ----------
    family, sizes
        Family and sizes of the encoder.

    Examples
    --------
    >>> parameter_count("v2", Sizes(36, 2, 4, 384, 128))
    1066402
    """
    return sum(parameter.numel() for parameter in empty_network(family, sizes).parameters())
