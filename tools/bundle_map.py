"""Bring OpenLayers and zarrita into the package, for the page of a mosaic: one script, one style.

    python tools/bundle_map.py

It needs npm, and its registry. What comes of it lies in `pipeline/publishing/data` and is
committed, so that installing the package, publishing and looking at the page need neither. It has
1.8 MB, and .6 MB in the wheel.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / "pipeline" / "publishing" / "data"

PACKAGES = ("ol@10.11.0", "zarrita@0.7.5")
BUNDLER = "esbuild@0.28.1"

ENTRY = """
export {default as Map} from 'ol/Map.js';
export {default as View} from 'ol/View.js';
export {default as WebGLTileLayer} from 'ol/layer/WebGLTile.js';
export {default as VectorLayer} from 'ol/layer/Vector.js';
export {default as Graticule} from 'ol/layer/Graticule.js';
export {default as GeoZarr} from 'ol/source/GeoZarr.js';
export {default as VectorSource} from 'ol/source/Vector.js';
export {default as Feature} from 'ol/Feature.js';
export {default as Point} from 'ol/geom/Point.js';
export {default as ScaleLine} from 'ol/control/ScaleLine.js';
export {fromExtent} from 'ol/geom/Polygon.js';
export {get as getProjection, transform, transformExtent} from 'ol/proj.js';
export {Style, Stroke, Fill, Circle, Text} from 'ol/style.js';
export {open, root, get, slice, FetchStore} from 'zarrita';
"""
"""What the page uses of them."""


def bundle_map() -> None:
    """Write the bundle, its style and the licences of all that is in it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "package.json").write_text('{"private": true, "type": "module"}')
        words = ["npm", "install", "--silent", "--ignore-scripts", *PACKAGES, BUNDLER]
        subprocess.run(words, cwd=folder, check=True)
        (folder / "entry.js").write_text(ENTRY)
        modules, script = folder / "node_modules", DATA / "map-libraries.js"
        words = [str(modules / ".bin" / "esbuild"), "entry.js", "--bundle", "--minify"]
        words += ["--format=iife", "--global-name=mapLibraries", "--legal-comments=none"]
        words += ["--target=es2022", "--metafile=meta.json", f"--outfile={script}"]
        subprocess.run([*words, "--log-level=error"], cwd=folder, check=True)
        shutil.copy(modules / "ol" / "ol.css", DATA / "map-libraries.css")
        (DATA / "map-libraries.txt").write_text(licences(folder))


def licences(folder: Path) -> str:
    """Name, version and licence of each package that is in the bundle."""
    used = json.loads((folder / "meta.json").read_text())["inputs"]
    names = {name for path in used if (name := package_of(path))}
    parts = ["What is in map-libraries.js and map-libraries.css, and its licences.\n"]
    for name in sorted(names):
        package = folder / "node_modules" / name
        told = json.loads((package / "package.json").read_text())
        texts = sorted(
            file for file in package.iterdir() if file.stem.lower() in ("license", "licence")
        )
        text = texts[0].read_text().strip() if texts else f"(licence: {told.get('license')})"
        parts.append(f"{'-' * 79}\n{name} {told['version']}, {told.get('license')}\n\n{text}\n")
    return "\n".join(parts)


def package_of(path: str) -> str:
    """Name of the package that a module of the bundle belongs to; empty for our own."""
    inside = path.rpartition("node_modules/")[2].split("/")
    if "node_modules/" not in path:
        return ""
    return "/".join(inside[: 2 if inside[0].startswith("@") else 1])


if __name__ == "__main__":
    bundle_map()
