"""What items say of the radiometric offset, in all forms that catalogues have for it."""

import pytest

from tessera_mosaic.pipeline.scenes.offset_claim import baseline_number, offset_claim

APPLIED = "earthsearch:boa_offset_applied"
MINUS = {"raster:bands": [{"scale": 0.0001, "offset": -0.1}]}
NOTHING = {"raster:bands": [{"scale": 0.0001, "offset": 0}]}


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ("05.11", 5.11),
        ("5.11", 5.11),
        ("N0511", 5.11),
        ("N05.11", 5.11),
        ("0511", 5.11),
        (5.11, 5.11),
        (4, 4.0),
        ("02.14", 2.14),
        ("99.99", None),
        ("9999", None),
        (99.99, None),
        ("02.05.05", None),
        ("", None),
        (None, None),
        (True, None),
        (10**400, None),
        (float("nan"), None),
    ],
)
def test_a_baseline_is_a_number(told: object, expected: float | None) -> None:
    assert baseline_number(told) == expected


@pytest.mark.parametrize(
    ("name", "date", "properties", "asset", "expected"),
    [
        # A baseline below 04.00 is beyond doubt, whatever else is said, and wherever it stands.
        ("a", "2021-05-01", {"s2:processing_baseline": "03.01", APPLIED: False}, MINUS, "no!"),
        ("a", "2021-05-01", {"processing:version": 2.14}, {}, "no!"),
        ("S2A_MSIL2A_20210501T105031_N0301_R051_T31UDS_20210501T1", "2021-05-01", {}, {}, "no!"),
        ("a", "2021-05-01", {"s2:product_uri": "S2A_MSIL2A_x_N0214_R051.SAFE"}, MINUS, "no!"),
        ("a", "2021-05-01", {"s2:datastrip_id": "S2A_OPER_S20210501T105031_N02.14"}, {}, "no!"),
        # ESA's Collection 1 has it in years before 2022 too.
        ("a", "2018-05-01", {"s2:processing_baseline": "05.00"}, {}, "yes"),
        ("a", "2018-05-01", {"s2:processing_baseline": "N0500"}, {}, "yes"),
        ("a", "2018-05-01", {"sentinel:product_id": "S2A_MSIL2A_x_N0500_R051_T31UDS"}, {}, "yes"),
        # Element 84's word before that of the bands, and theirs before the baseline's.
        ("a", "2024-05-01", {"s2:processing_baseline": "05.10", APPLIED: True}, MINUS, "no"),
        ("a", "2022-01-26", {"s2:processing_baseline": "04.00", APPLIED: False}, NOTHING, "yes"),
        ("a", "2024-05-01", {"s2:processing_baseline": "05.10"}, NOTHING, "no"),
        ("a", "2021-05-01", {"sentinel:boa_offset_applied": False}, {}, None),
        ("a", "2023-05-01", {"sentinel:boa_offset_applied": False}, {}, "yes"),
        ("a", "2021-05-01", {}, MINUS, "yes"),
        ("a", "2021-05-01", {}, {"raster:offset": -0.1, "raster:scale": 0.0001}, "yes"),
        ("a", "2021-05-01", {}, {"bands": [{"raster:offset": -0.1}]}, "yes"),
        ("a", "2021-05-01", {}, {"raster:bands": [{"offset": -1000}]}, "yes"),
        # Libraries write a scale of 1 and an offset of 0 where nobody told them.
        ("a", "2021-05-01", {}, {"raster:bands": [{"scale": 1.0, "offset": 0.0}]}, None),
        ("a", "2021-05-01", {}, {"raster:bands": [{"data_type": "uint16"}]}, None),
        ("a", "2024-05-01", {"s2:processing_baseline": "99.99"}, {}, None),
        ("a", "2024-05-01", {}, {}, None),
        ("a", "2024-05-01", {"s2:processing_baseline": []}, {"raster:bands": 3}, None),
    ],
)
def test_what_items_say(
    name: str, date: str, properties: dict, asset: dict, expected: str | None
) -> None:
    claim = offset_claim(name, date, properties, [asset])
    if expected is None:
        assert claim is None
    else:
        assert claim is not None
        assert (claim.kept, claim.certain) == (expected == "yes", expected == "no!")
        assert claim.by


def test_a_collection_that_always_has_it() -> None:
    claim = offset_claim("a", "2021-05-01", {}, [], always_kept=True)
    assert claim is not None
    assert claim.kept
