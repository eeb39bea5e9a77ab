"""How well values are told where nothing was learnt: environment by environment, split by split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tessera_mosaic.pipeline.bounds import Bounds, check_bounds
from tessera_mosaic.pipeline.downstream.environment_rows import LOW, Wanted, rows_of
from tessera_mosaic.pipeline.downstream.sample_table import read_table
from tessera_mosaic.pipeline.downstream.site_tables import SCHEMA, read_sites
from tessera_mosaic.pipeline.errors import BadInput, choose
from tessera_mosaic.pipeline.evaluation.environment_models import ModelChoice, ValueMethod, Watch
from tessera_mosaic.pipeline.evaluation.environment_scores import FEWEST_ROWS, MethodScore
from tessera_mosaic.pipeline.evaluation.extrapolation import (
    Extrapolation,
    draw_errors,
    extrapolate,
    write_errors,
)
from tessera_mosaic.pipeline.io.local_files import make_directory
from tessera_mosaic.pipeline.mosaic.any_mosaic import open_any

TABLE, PICTURE = "environments.csv", "environments.png"
"""Names of the files in the folder of an evaluation."""


ROWS = Bounds("an environment has 1 row or more", least=1)


@dataclass(frozen=True)
class EnvironmentsRequest:
    """What is to be told of environments that nothing was learnt from.

    Parameters
    ----------
    table
        Path of rows: CSV, Parquet or NPZ, as `extract` writes them, or a folder of tables of
        measuring sites.
    target
        Column with the value that is told.
    environments
        Columns whose values make an environment (`site`, `region`, `year`), or the side of cells of
        longitude and latitude (`10deg`).
    store
        Path or URL of a mosaic whose vectors at the rows' `lon` and `lat` are learnt from, too.
    year
        Calendar year of these vectors; without one that of each row, by its `year` or `time`.
    features
        Columns that are learnt from, or vectors: `e` is `e0`, `e1` and so on. Without any, the
        mosaic's vectors, the covariates of a folder of sites, or `e` of a table.
    tail
        Column whose largest values are held out, place by place, in a split of their own; with
        `:low` behind it the smallest.
    test_from
        First calendar year that the time split holds out; by default the last third of the years.
    methods
        What tells: `constant`, `ridge`, `trees`.
    choose
        Of the errors of validation environments a model is chosen by their `mean`, `max` or
        `spread` (largest minus smallest).
    fewest
        Rows of an environment whose error is told.
    out
        Folder for the table and the picture.

    Raises
    ------
    BadInput
        If a value is out of range.

    Examples
    --------
    >>> request = tm.EnvironmentsRequest("vectors.parquet", "biomass", ("10deg",))
    >>> request.choose.value
    'mean'
    """

    table: str | Path
    target: str
    environments: tuple[str, ...]
    store: str | None = None
    year: int | None = None
    features: tuple[str, ...] = ()
    tail: str = ""
    test_from: int | None = None
    methods: tuple[ValueMethod, ...] = tuple(ValueMethod)
    choose: ModelChoice = ModelChoice.MEAN
    fewest: int = field(default=FEWEST_ROWS, metadata=ROWS.metadata)
    out: str | Path = "evaluation"

    def __post_init__(self) -> None:
        check_bounds(self)
        choose(self, choose=ModelChoice)
        if not self.environments:
            raise BadInput("name columns, or cells such as 10deg", "environments")
        names = [method.value for method in ValueMethod]
        for method in self.methods:
            if method not in names:
                raise BadInput(f"choose of {', '.join(names)}", "methods", method)
        if not self.methods or len(set(self.methods)) < len(self.methods):
            raise BadInput("name each method once", "methods", ",".join(self.methods))
        object.__setattr__(self, "methods", tuple(map(ValueMethod, self.methods)))
        if self.year is not None and self.store is None:
            raise BadInput("it is of a mosaic's vectors: give the store, too", "year", self.year)


@dataclass(frozen=True)
class EnvironmentScores:
    """How well values are told where nothing was learnt.

    Parameters
    ----------
    rows, environments, features
        Numbers of the rows, of their environments, and of what they are told from.
    left_out
        Number of rows that could not be used, by the reason.
    found
        The scores, and what has to be said of them.
    table, picture
        Paths of the errors of all environments (CSV) and of their picture (PNG).
    """

    rows: int
    environments: int
    features: int
    left_out: Mapping[str, int]
    found: Extrapolation
    table: Path
    picture: Path

    @property
    def scores(self) -> tuple[MethodScore, ...]:
        """A score for each split, scale and method."""
        return self.found.scores

    def to_json(self) -> dict[str, Any]:
        """The fields of `evaluate --environments --json`."""
        return {
            "rows": self.rows,
            "environments": self.environments,
            "features": self.features,
            "left_out": dict(self.left_out),
            "table": str(self.table),
            "picture": str(self.picture),
            **self.found.to_json(),
        }


def evaluate_environments(
    request: EnvironmentsRequest, watch: Watch = lambda splits: splits
) -> EnvironmentScores:
    """Tell values of environments that nothing was learnt from, and how far off they are.

    Parameters
    ----------
    request
        What is told, from what, and of which environments.
    watch
        Passes on the folds as they are done, and may show how far they are.

    Raises
    ------
    BadInput
        If the table, the mosaic or the folder cannot be used.

    Examples
    --------
    >>> import numpy as np
    >>> of = np.arange(400)
    >>> vectors = np.random.default_rng(0).normal(size=(400, 3))
    >>> np.savez("rows.npz", e=vectors, height=vectors[:, 0] + of // 100, site=of // 40)
    >>> request = tm.EnvironmentsRequest("rows.npz", "height", ("site",), methods=("ridge",))
    >>> found = tm.evaluate_environments(request)
    >>> [(each.split.value, each.method, len(each.errors)) for each in found.scores]
    [('random', 'ridge', 10), ('space', 'ridge', 10)]
    """
    out = Path(request.out)
    for name in (TABLE, PICTURE):
        if (out / name).exists():
            raise BadInput(f"it has an {name} already: name another folder", "out", out)
    path, features = Path(request.table), request.features
    if path.is_dir():
        table = read_sites(path)
        if not features:
            features = tuple(SCHEMA.covariates(table))
    else:
        table = read_table(path)
    mosaic = None if request.store is None else open_any(request.store)
    told = Wanted(
        request.target, request.environments, features, request.tail, mosaic, request.year
    )
    rows, left_out = rows_of(table, told)
    make_directory(out, "out")
    found = extrapolate(
        rows,
        request.methods,
        request.choose,
        request.fewest,
        request.test_from,
        request.tail.endswith(LOW),
        watch,
    )
    write_errors(found.scores, out / TABLE)
    draw_errors(found.scores, out / PICTURE, request.target)
    return EnvironmentScores(
        len(rows),
        len(rows.names),
        rows.features.shape[1],
        left_out,
        found,
        out / TABLE,
        out / PICTURE,
    )
