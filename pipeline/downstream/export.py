"""A part of a mosaic as files that other programs open: GeoTIFF, NetCDF or Zarr."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from tessera_mosaic.pipeline.downstream.export_arrays import write_arrays
from tessera_mosaic.pipeline.downstream.export_cells import cells_on
from tessera_mosaic.pipeline.downstream.export_geotiff import edges_of, write_geotiff
from tessera_mosaic.pipeline.downstream.export_request import (
    Exported,
    ExportedFile,
    ExportLayout,
    ExportRequest,
    ExportValues,
    chosen_dims,
)
from tessera_mosaic.pipeline.downstream.export_tze import write_viewer_folder
from tessera_mosaic.pipeline.downstream.selection import Selection, select
from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.mosaic.identity import fingerprint, model_name
from tessera_mosaic.pipeline.tiling.lattice import Window
from tessera_mosaic.pipeline.tiling.region import read_region


def export(
    request: ExportRequest, tell: Callable[[int, int], None] = lambda done, all_: None
) -> Exported:
    """Write a part of a mosaic as files, on each zone's own lattice: no pixel is resampled.

    A file has the smallest window of the lattice that holds the region, whole; where a region
    spans zones, each has a file of its own, `NAME-utmNN.tif`. Where there is no embedding, a value
    is NaN. Memory does not grow with the region.

    With the layout `grid` each cell of 0.1 degrees that has an embedding is a GeoTIFF
    `grid_LON_LAT_YEAR.tiff` in a folder, as torchgeo's `TesseraEmbeddings` takes them. With `tze` a
    folder is written that the viewer of TESSERA opens, by the address of its `catalog.json`.

    Parameters
    ----------
    request
        The mosaic, the part and the files.
    tell
        Called with the number of blocks that are done, and of all.

    Returns
    -------
    Exported
        The year, and each file with its reference system and size.

    Raises
    ------
    BadInput
        If the mosaic, the region, the year or the dimensions cannot be used, there is nothing
        there, or the file is there already.
    StoreError
        If the mosaic cannot be read.

    Examples
    --------
    >>> region = "2.995,50.845,3.000,50.850"
    >>> found = tm.export(tm.ExportRequest("valley.zarr", "square.tif", region, dims=range(16)))
    >>> found.year, found.dims, found.files[0].crs
    (2024, 16, 'EPSG:32631')
    >>> import rasterio
    >>> with rasterio.open("square.tif") as file:
    ...     file.count, file.dtypes[0], file.res
    (16, 'float32', (10.0, 10.0))
    """
    chosen = select(request.store, request.region, request.year, request.buffer)
    dims = chosen_dims(request.dims, chosen.mosaic.layout.dims)
    if request.layout is ExportLayout.GRID:
        region = None if request.region is None else read_region(request.region, request.buffer)
        cells = list(cells_on(chosen.windows, region))
        windows = tuple(cell.window(zone) for zone, cell in cells)
        chosen = Selection(chosen.mosaic, chosen.year, windows)
        paths = [Path(request.out) / cell.name(chosen.year) for _, cell in cells]
        south = [cell.south for _, cell in cells]
    elif request.layout is ExportLayout.TZE:
        paths, south = [Path(request.out)], []
    else:
        paths = [chosen.path_of(window, request.out) for window in chosen.windows]
        south = [False] * len(paths)
    _refuse_what_is_there(paths, request.values)
    _ = chosen.tiles
    step = chosen.steps(tell)
    if request.layout is ExportLayout.TZE:
        files = write_viewer_folder(Path(request.out), chosen, step)
    else:
        files = [
            _write(request, chosen, window, path, dims, below, step)
            for window, path, below in zip(chosen.windows, paths, south, strict=True)
        ]
    if request.layout is ExportLayout.GRID:
        files = [file for file in files if _kept(file, request.values)]
    return Exported(chosen.year, len(dims), tuple(files))


def _write(
    request: ExportRequest,
    chosen: Selection,
    window: Window,
    path: Path,
    dims: Sequence[int],
    south: bool,
    step: Callable[[], None],
) -> ExportedFile:
    """Write the file of one zone."""
    blocks, tags = chosen.read(window), tags_of(chosen)
    if path.suffix.lower() in (".tif", ".tiff"):
        embedded = write_geotiff(path, window, blocks, dims, request.values, tags, south, tell=step)
    else:
        observed = chosen.mosaic.layout.observed
        embedded = write_arrays(
            path, window, blocks, dims, request.values, observed, tags, tell=step
        )
    crs = f"EPSG:327{window.zone:02d}" if south else window.crs
    return ExportedFile(str(path), crs, edges_of(window, south), *window.shape, embedded)


def _kept(file: ExportedFile, values: ExportValues) -> bool:
    """Whether there is anything in a cell's file; it is removed where there is not."""
    if not file.embedded:
        for path in _written(Path(file.path), values):
            path.unlink()
    return bool(file.embedded)


def tags_of(chosen: Selection) -> dict[str, str]:
    """What a file says of where it is from."""
    return {
        "YEAR": str(chosen.year),
        "MODEL": model_name(chosen.mosaic.identity),
        "FINGERPRINT": fingerprint(chosen.mosaic.identity),
    }


def _written(path: Path, values: ExportValues) -> tuple[Path, ...]:
    """The files that an export to a path writes."""
    if values is ExportValues.FLOAT32:
        return (path,)
    return path, path.with_name(f"{path.stem}_scales{path.suffix}")


def _refuse_what_is_there(paths: Sequence[Path], values: ExportValues) -> None:
    """Refuse to write where something is: it may have taken hours to make.

    Raises
    ------
    BadInput
        Naming the first.
    """
    for path in paths:
        for each in _written(path, values):
            if each.exists():
                raise BadInput("it is there already: name another, or remove it", "out", each)
