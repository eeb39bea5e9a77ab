"""Precisions that an encoder computes in, for those who name one without computing."""

from __future__ import annotations

from enum import StrEnum


class Precision(StrEnum):
    """Precision of matrix products. Normalisation, softmax and pooling are in float32 always."""

    FP32 = "fp32"
    """float32: a pixel's bytes are the same in every batch, thread, worker and order."""
    BF16 = "bf16"
    """bfloat16: faster where the device has it, and close to float32."""
