"""Published figures again, on the points of Better Together: what comes out and what does not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.fusion import YEAR, write_tables
from tessera_mosaic.model.heads.fitting import Recipe
from tessera_mosaic.model.heads.head import HeadKind, Task
from tessera_mosaic.model.locations.geoclip import geoclip_weights
from tessera_mosaic.pipeline.downstream.fusion_points import FusedPoints, fused_points, read_points
from tessera_mosaic.pipeline.downstream.fusion_products import products_of
from tessera_mosaic.pipeline.evaluation.complementarity import score_products
from tessera_mosaic.pipeline.evaluation.fold_plans import fold_plans
from tessera_mosaic.pipeline.evaluation.published_protocol import PublishedScore, published_scores


def fused(shared: Path, folder: Path, name: str, target: str = "") -> FusedPoints:
    """AlphaEarth and GeoCLIP at the paper's points, by the way that `fuse` takes."""
    source = shared / f"data/downstream/{name}.npz"
    if not source.is_file() or geoclip_weights() is None:
        pytest.skip("the points of Better Together, or the weights of GeoCLIP, are not here")
    points, codes = write_tables(source, target, folder)
    task = Task.VALUE if target else Task.CLASS
    products = products_of([f"aef=alphaearth:{codes}", "geo=geoclip"])
    return fused_points(read_points(str(points), YEAR, task, None), products, YEAR)


def scores(found: list[PublishedScore]) -> list[float]:
    return [each.score for each in found]


def test_biomass_is_reproduced_and_fusion_by_one_penalty_hurts(
    shared: Path, tmp_path: Path
) -> None:
    points = fused(shared, tmp_path, "points_biomass", "biomass_mean")
    assert len(points.points) == 4581
    found = published_scores(points.vectors, points.points.targets, Task.VALUE)
    # Published: .671, .308, .635, on the 4,571 of these points that TESSERA has, too.
    assert scores(found) == pytest.approx([0.6750, 0.3099, 0.6368], abs=5e-4)
    assert found[2].complementarity == pytest.approx(-0.1176, abs=2e-3)
    assert found[2].p_adjusted is not None
    assert found[2].p_adjusted < 1e-4
    assert [each.error for each in found] == pytest.approx([0.0227, 0.0160, 0.0226], abs=1e-3)


def test_biomass_by_cells_loses_nothing_with_penalties_of_their_own(
    shared: Path, tmp_path: Path
) -> None:
    points = fused(shared, tmp_path, "points_biomass", "biomass_mean")
    sites, targets = points.points.sites, points.points.targets
    plans, _ = fold_plans(sites.lon, sites.lat, targets, False, [10.0], 5)
    recipe = Recipe(HeadKind.RIDGE, Task.VALUE, 1)
    (found,) = score_products(points.vectors, targets, recipe, plans[1:])
    assert [each.score.value for each in found.scores] == pytest.approx(
        [0.642, 0.271, 0.640], abs=0.01
    )
    (gain,) = found.gains
    assert gain.verdict.value == "no gain"
    assert abs(gain.difference.value) < 0.01


@pytest.mark.soak
def test_crops_are_lower_than_published_in_the_same_order(shared: Path, tmp_path: Path) -> None:
    points = fused(shared, tmp_path, "points_crops")
    assert (len(points.points), len(points.points.classes)) == (3596, 18)
    found = published_scores(points.vectors, points.points.targets, Task.CLASS)
    # Published: .600, .616, .634. These are not reproduced, and nobody knows why.
    assert scores(found) == pytest.approx([0.569, 0.588, 0.617], abs=2e-3)
    assert found[2].complementarity is not None
    assert found[2].complementarity > 0
    assert np.all(np.diff(scores(found)) > 0)
