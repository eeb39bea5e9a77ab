"""Probes see nothing that a fold should not know."""

from __future__ import annotations

import numpy as np
import pytest

from tessera_mosaic.model import probes


def test_grouped_folds_cut_no_group_and_random_folds_do() -> None:
    groups = np.repeat(np.arange(1, 21), 30).astype(np.int32)
    labels = (groups % 2 + 1).astype(np.int32)
    for train, test in probes.grouped_folds(groups):
        assert not set(groups[train]) & set(groups[test])
    train, test = probes.random_folds(labels, 0)[0]
    assert set(groups[train]) & set(groups[test])


def test_folds_by_field_are_not_fooled_by_a_memory_of_fields() -> None:
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(1, 121), 20).astype(np.int32)
    labels = rng.integers(1, 3, 121)[groups].astype(np.int32)
    signature = rng.normal(size=(121, 8)).astype(np.float32)[groups]
    features = signature + rng.normal(0, 0.05, signature.shape).astype(np.float32)
    fooled = probes.score("knn", features, labels, probes.random_folds(labels, 0))
    honest = probes.score("knn", features, labels, probes.grouped_folds(groups))
    assert fooled.accuracy > 0.99
    assert honest.accuracy < 0.75


@pytest.mark.parametrize("head", probes.HEADS)
def test_heads_find_what_is_there_with_few_labels_too(head: str) -> None:
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(1, 41), 10).astype(np.int32)
    labels = (groups % 4 + 1).astype(np.int32)
    features = (np.eye(5)[labels] + rng.normal(0, 0.1, (400, 5))).astype(np.float32)
    folds = probes.grouped_folds(groups)
    assert probes.score(head, features, labels, folds).accuracy > 0.97
    few = [probes.score(head, features, labels, folds, 0.05, seed) for seed in (0, 0, 1)]
    assert few[0] == few[1]
    assert few[0].accuracy > 0.9 or head == "knn"


def test_classes_that_stand_in_one_field_or_in_few_pixels_are_left_out() -> None:
    labels = np.repeat([1, 4, 2, 3, 0], [80, 80, 80, 20, 50]).astype(np.int32)
    groups = np.concatenate([np.arange(160) // 40, np.full(80, 4), np.arange(70) + 5])
    keep = probes.worth_probing(labels, groups.astype(np.int32))
    assert set(labels[keep]) == {1, 4}
    with pytest.raises(probes.ProbeError, match="no two classes"):
        probes.worth_probing(np.where(labels == 4, 0, labels), groups.astype(np.int32))
