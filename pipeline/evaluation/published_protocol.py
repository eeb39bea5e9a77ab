"""The protocol of Better Together (arXiv 2605.18667), as its code has it.

Every column is standardised over all rows, those to be tested among them; 20 random folds, seed 42;
ridge regression or logistic regression with a penalty of 1 on everything. It is here to compare
with published figures, not to be believed: neighbours lie on both sides of its folds.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_mosaic.model.heads.fitting import one_thread
from tessera_mosaic.model.heads.head import Task
from tessera_mosaic.pipeline.evaluation.complementarity import (
    Names,
    Tell,
    Vectors,
    adjust,
    combined,
    complementarity,
    signed_rank,
)

FOLDS, SEED = 20, 42


@dataclass(frozen=True)
class PublishedScore:
    """What some products score together under the published protocol.

    Parameters
    ----------
    products
        Their names.
    score, error
        Mean over the folds of R2 or accuracy, and its standard error.
    complementarity
        C beyond the best of them; None of a single product.
    p_adjusted
        Of a Wilcoxon signed-rank test over the folds, adjusted; None of a single product.
    """

    products: Names
    score: float
    error: float
    complementarity: float | None = None
    p_adjusted: float | None = None

    def to_json(self) -> dict[str, Any]:
        """The fields, as JSON values."""
        told = {
            name: None if value is None else round(value, 6)
            for name, value in vars(self).items()
            if name != "products"
        }
        return {"products": list(self.products)} | told


def published_scores(
    vectors: Vectors,
    targets: NDArray[np.float64],
    task: Task,
    tell: Tell = lambda done, all_: None,
) -> list[PublishedScore]:
    """Score every combination of products by the published protocol.

    Parameters
    ----------
    vectors, targets
        As in `score_products`.
    task
        Whether targets are classes or values.
    tell
        Called with the number of heads that are done, and of all.
    """
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.model_selection import KFold

    standardised = {name: _standardised(values) for name, values in vectors.items()}
    aim = targets.astype(np.int64) if task is Task.CLASS else _standardised(targets[:, None])[:, 0]
    combos, done = combined(list(vectors)), 0
    folds: dict[Names, list[float]] = {}
    with one_thread(), warnings.catch_warnings():
        # What does not converge in 1,000 steps was published so.
        warnings.simplefilter("ignore")
        for products in combos:
            rows = np.concatenate([standardised[name] for name in products], axis=1)
            folds[products] = []
            for train, test in KFold(FOLDS, shuffle=True, random_state=SEED).split(rows):
                head = LogisticRegression(max_iter=1000) if task is Task.CLASS else Ridge(1.0)
                fitted = head.fit(rows[train], aim[train])
                folds[products].append(float(fitted.score(rows[test], aim[test])))
                done += 1
                tell(done, FOLDS * len(combos))
    means = {products: float(np.mean(scores)) for products, scores in folds.items()}
    fused = [products for products in combos if len(products) > 1]
    best = {each: max(((name,) for name in each), key=lambda one: means[one]) for each in fused}
    tests = adjust([signed_rank(folds[each], folds[best[each]]) for each in fused])
    adjusted = dict(zip(fused, tests, strict=True))
    return [
        PublishedScore(
            products,
            means[products],
            float(np.std(folds[products], ddof=1) / np.sqrt(FOLDS)),
            complementarity(means[products], means[best[products]]) if products in best else None,
            adjusted.get(products),
        )
        for products in combos
    ]


def _standardised(values: NDArray[Any]) -> NDArray[np.float64]:
    wide = values.astype(np.float64)
    spread = wide.std(axis=0)
    return (wide - wide.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
