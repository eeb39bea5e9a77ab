"""What pixels look like without an encoder."""

from __future__ import annotations

import numpy as np

from tessera_mosaic.model.observations import Stack
from tessera_mosaic.pipeline.evaluation.raw_features import fill_gaps, monthly_medians


def test_monthly_medians_are_of_each_months_valid_observations() -> None:
    rng = np.random.default_rng(0)
    days = np.arange(3, 363, 6, dtype=np.uint16)
    stack = Stack(
        bands=rng.integers(1, 9000, (60, 2, 3, 10)).astype(np.uint16),
        masks=rng.integers(0, 2, (60, 2, 3)).astype(np.uint8),
        doys=days,
        sar_ascending=rng.integers(0, 3, (20, 2, 3, 2)).astype(np.int16) * np.int16(1000),
        sar_ascending_doy=np.arange(5, 365, 18, dtype=np.int16),
        sar_descending=rng.integers(1, 9000, (5, 2, 3, 2)).astype(np.int16),
        sar_descending_doy=np.array([40, 130, 131, 132, 250], np.int16),
    )
    features = monthly_medians(stack, 2019).reshape(2, 3, 8, 12)
    may = (days >= 121) & (days <= 151)
    radar = [
        series[(doys >= 121) & (doys <= 151), 1, 2]
        for series, doys in (
            (stack.sar_ascending, stack.sar_ascending_doy),
            (stack.sar_descending, stack.sar_descending_doy),
        )
    ]
    vv = np.concatenate(radar)[:, 0]
    clear = stack.bands[may & (stack.masks[:, 1, 2] != 0), 1, 2]
    assert features[1, 2, 3, :10].tolist() == np.median(clear, axis=0).tolist()
    assert features[1, 2, 3, 10] == np.median(vv[vv != 0])


def test_gaps_get_their_columns_median() -> None:
    features = np.array([[1, np.nan], [np.nan, np.nan], [5, np.nan]], np.float32)
    assert fill_gaps(features).tolist() == [[1, 0], [3, 0], [5, 0]]
