"""The arithmetic of the fast path: what a device does best, in a precision.

On a CPU, products run in oneDNN with weights laid out once; elsewhere in PyTorch's own library.
Activations are kept in the precision of the products; normalisation, softmax and pooling compute
in float32 whatever it is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tessera_mosaic.model.networks import ResetFirstGru
from tessera_mosaic.model.precision import Precision

DTYPES: dict[str, torch.dtype] = {Precision.FP32: torch.float32, Precision.BF16: torch.bfloat16}
"""Types of the numbers in matrix products, by the precision's name."""

STEPS = 64
"""A typical number of tokens of a sequence, for laying out a recurrence's weights."""

TILE, MOST_PADDING = 64, 0.04
"""Features that oneDNN computes at once in bf16, and the share that is padded to fill them."""

T = TypeVar("T")


class UnusableDevice(RuntimeError):
    """A device was asked for that is not there, or cannot compute as asked."""


@dataclass(frozen=True)
class Place:
    """Where and how to compute.

    Parameters
    ----------
    device
        Processor or GPU that computes.
    dtype
        Type of the numbers in matrix products.
    """

    device: torch.device
    dtype: torch.dtype

    @property
    def onednn(self) -> bool:
        """Whether oneDNN does the products: on a CPU, where PyTorch has it and may use it."""
        library = torch.backends.mkldnn
        return self.device.type == "cpu" and library.is_available() and bool(library.enabled)

    @property
    def bf16_cpu(self) -> bool:
        """Whether this is a CPU that computes in bf16."""
        return self.device.type == "cpu" and self.dtype == torch.bfloat16

    def fused(self, function: Callable[..., T]) -> Callable[..., T]:
        """A function of element by element steps, as one kernel where that takes a compiler."""
        return torch.compile(function, dynamic=True) if self.device.type == "cuda" else function

    def exactly(self) -> Place:
        """The same device in float32."""
        return Place(self.device, torch.float32)

    def put(self, tensor: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        """A copy of a parameter on the device, which outlives the file it came from."""
        return tensor.detach().to(self.device, dtype or self.dtype, copy=True).contiguous()


def find_place(device: str, precision: str) -> Place:
    """Check that a device is there and can compute in a precision.

    Parameters
    ----------
    device
        Name of the device: `cpu`, `cuda` or `cuda:N`.
    precision
        Name of the precision of matrix products: `fp32` or `bf16`.

    Raises
    ------
    UnusableDevice
        If not.

    Examples
    --------
    >>> find_place("cpu", "fp32").dtype
    torch.float32
    """
    if precision not in DTYPES:
        raise UnusableDevice(
            f"there is no precision {precision!r}: choose from {', '.join(DTYPES)}"
        )
    try:
        place = Place(torch.device(device), DTYPES[precision])
    except RuntimeError:
        raise UnusableDevice(f"there is no kind of device called {device!r}") from None
    kind = place.device.type
    if kind not in ("cpu", "cuda"):
        raise UnusableDevice(f"encoders run on cpu and cuda, not on {kind}")
    if kind == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (place.device.index or 0) >= count:
            raise UnusableDevice(f"device {device} was asked for, and {count} GPUs are usable here")
    elif precision == "bf16" and not (
        place.onednn and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    ):
        raise UnusableDevice("this CPU has no bf16 arithmetic: choose the precision fp32")
    return place


class Affine:
    """A linear layer, laid out for a device.

    On a CPU these are the operators that PyTorch's own compiler makes of linear layers: oneDNN
    with weights in its own layout, and what follows the product done while it is written.

    Parameters
    ----------
    weight : float32 (out, in)
        Weights of the layer.
    bias : float32 (out,) or None
        Biases of the layer, if it has any.
    place
        Device and precision to compute in.
    rows
        Number of rows of the matrices to come, as a hint for the layout.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, place: Place, rows: int) -> None:
        self.onednn = place.onednn
        self.features = len(weight)
        self.padding = 0
        if self.onednn and place.bf16_cpu:
            padding = -self.features % TILE
            self.padding = padding if padding < MOST_PADDING * self.features else 0
        self.weight = F.pad(place.put(weight), (0, 0, 0, self.padding))
        self.bias = None if bias is None else F.pad(place.put(bias), (0, self.padding))
        if self.onednn:
            self.weight = torch.ops.mkldnn._reorder_linear_weight(self.weight, rows)

    @classmethod
    def of(cls, layer: nn.Linear, place: Place, rows: int) -> Affine:
        """Lay out a PyTorch layer."""
        return cls(layer.weight, layer.bias, place, rows)

    def __call__(self, x: Tensor, relu: bool = False, plus: Tensor | None = None) -> Tensor:
        """(rows, in) to (rows, out), then either a ReLU or a sum, in the same pass if possible."""
        if not self.onednn:
            y = F.linear(x, self.weight, self.bias)
            y = y.relu_() if relu else y
            return y if plus is None else y.add_(plus)
        if plus is not None and not self.padding:
            return torch.ops.mkldnn._linear_pointwise.binary(x, plus, self.weight, self.bias, "add")
        then = "relu" if relu else "none"
        y = torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, then, [], "")
        y = y[:, : self.features] if self.padding else y
        return y if plus is None else y + plus


class Norm:
    """Layer normalisation in float32, of a sum where there is one."""

    def __init__(self, norm: nn.LayerNorm, place: Place) -> None:
        self.weight = None if norm.weight is None else place.put(norm.weight, torch.float32)
        self.bias = None if norm.bias is None else place.put(norm.bias, torch.float32)
        self.eps = norm.eps
        self.on_cpu = place.device.type == "cpu"
        self.normalise = place.fused(_normalise)

    def __call__(self, x: Tensor, plus: Tensor | None = None) -> Tensor:
        if self.on_cpu:
            # The CPU's kernel computes in float32 whatever it reads.
            x = x if plus is None else x + plus
            return F.layer_norm(x, x.shape[-1:], self.weight, self.bias, self.eps)
        return self.normalise(x, plus, self.weight, self.bias, self.eps)


def _normalise(
    x: Tensor, plus: Tensor | None, weight: Tensor | None, bias: Tensor | None, eps: float
) -> Tensor:
    total = x.float() if plus is None else x.float() + plus.float()
    return F.layer_norm(total, x.shape[-1:], weight, bias, eps).to(x.dtype)


class Residual:
    """A linear layer, the sum with what went around it, and the norm of that."""

    def __init__(self, layer: nn.Linear, norm: nn.LayerNorm, place: Place, rows: int) -> None:
        self.affine, self.norm = Affine.of(layer, place, rows), Norm(norm, place)

    def __call__(self, inner: Tensor, around: Tensor) -> Tensor:
        if self.affine.onednn:
            return self.norm(self.affine(inner, plus=around))
        return self.norm(self.affine(inner), around)


class HeadNorm:
    """Root-mean-square normalisation of each head's queries or keys, in float32."""

    def __init__(self, norm: nn.RMSNorm, place: Place) -> None:
        self.weight = place.put(norm.weight, torch.float32)

    def __call__(self, x: Tensor) -> Tensor:
        return F.rms_norm(x.float(), list(self.weight.shape), self.weight).to(x.dtype)


def attention(place: Place) -> Callable[..., Tensor]:
    """The quickest attention of a place: of queries, keys, values and what is added to logits.

    In bf16 on a CPU two batched products are quicker than PyTorch's own kernel, which took half of
    v2-nano's time on an AMD EPYC, and no less close to float32 (docs/encoders.md).
    """
    return _attend_in_products if place.bf16_cpu else F.scaled_dot_product_attention


def _attend_in_products(q: Tensor, k: Tensor, v: Tensor, attn_mask: Tensor | None = None) -> Tensor:
    logits = (q @ k.transpose(-1, -2)).float().mul_(q.shape[-1] ** -0.5)
    if attn_mask is not None:
        logits += attn_mask
    return logits.softmax(dim=-1).to(v.dtype) @ v


Recurrence = Callable[[Tensor], Tensor]
"""(T, P, D) tokens to (T, P, D) states."""


class ResetFirst:
    """The recurrence of v1.0 and v1.1: see `networks.ResetFirstCell`."""

    def __init__(self, gru: ResetFirstGru, place: Place, rows: int) -> None:
        cell = gru.gru_cell
        self.gates_in = Affine(
            torch.cat([cell.W_ir.weight, cell.W_iz.weight]),
            torch.cat([cell.b_r, cell.b_z]),
            place,
            rows,
        )
        self.new_in = Affine(cell.W_ih.weight, cell.b_h, place, rows)
        self.gates = Affine(
            torch.cat([cell.W_hr.weight, cell.W_hz.weight]), None, place, rows // STEPS
        )
        self.new = Affine(cell.W_hh.weight, None, place, rows // STEPS)
        self.gate, self.turn = place.fused(_gate), place.fused(_turn)

    def __call__(self, x: Tensor) -> Tensor:
        steps, pixels, width = x.shape
        # One product for all steps; what is left to each is the state's part.
        tokens = x.reshape(-1, width)
        gates_in = self.gates_in(tokens).view(steps, pixels, 2 * width)
        new_in = self.new_in(tokens).view(steps, pixels, width)
        states = torch.empty_like(x)
        state = torch.zeros_like(x[0])
        for step in range(steps):
            kept, update = self.gate(self.gates(state, plus=gates_in[step]), state)
            state = self.turn(self.new(kept, plus=new_in[step]), state, update)
            states[step] = state
        return states


def _gate(gates: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """What the reset gate leaves of a state, and the update gate."""
    reset, update = gates.sigmoid().chunk(2, dim=-1)
    return reset * state, update


def _turn(new: Tensor, state: Tensor, update: Tensor) -> Tensor:
    """The next state."""
    return torch.lerp(state, new.tanh(), update)


class TorchGru:
    """PyTorch's own GRU, with one product for all inputs (v1.0 before quantization)."""

    def __init__(self, gru: nn.GRU, place: Place, rows: int) -> None:
        weight_in, weight, bias_in, bias = gru.parameters()
        self.inputs = Affine(weight_in, bias_in, place, rows)
        self.states = Affine(weight, bias, place, rows // STEPS)

    def __call__(self, x: Tensor) -> Tensor:
        steps, pixels, width = x.shape
        inputs = self.inputs(x.reshape(-1, width)).view(steps, pixels, 3 * width)
        states = torch.empty_like(x)
        state = torch.zeros_like(x[0])
        for step in range(steps):
            gates_in, new_in = inputs[step].split([2 * width, width], dim=-1)
            gates, new = self.states(state).split([2 * width, width], dim=-1)
            reset, update = (gates_in + gates).sigmoid_().chunk(2, dim=-1)
            new = torch.addcmul(new_in, reset, new).tanh_()
            state = torch.lerp(new, state, update)
            states[step] = state
        return states


def recurrence(context: nn.Module, place: Place, rows: int) -> Recurrence:
    """Lay out the recurrence of a pool.

    Parameters
    ----------
    context
        The recurrence, with its parameters.
    place
        Device and precision to compute in.
    rows
        Number of tokens of a slab, as a hint for the layout.
    """
    if isinstance(context, ResetFirstGru):
        return ResetFirst(context, place, rows)
    assert isinstance(context, nn.GRU)
    return TorchGru(context, place, rows)
