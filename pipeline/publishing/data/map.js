// The page of a mosaic: the picture of it, the first components of a year, and what is at a place.
"use strict";
(() => {
  const lib = mapLibraries;
  const mosaic = JSON.parse(document.getElementById("mosaic").textContent);
  const byId = (id) => document.getElementById(id);
  const base = new URL(".", document.baseURI).href.replace(/\/$/, "");

  const tell = (text) => {
    byId("told").textContent = text;
    byId("told").hidden = !text;
  };

  const SERVER =
    "Start a web server that answers ranges in the folder of the mosaic, for example " +
    "`npx http-server`, and open the address that it tells.";

  // What the map shows

  const year = byId("year");
  for (const each of mosaic.years) {
    year.add(new Option(String(each), String(each)));
  }
  year.value = String(mosaic.years.at(-1));
  const zone = byId("zone");
  zone.add(new Option("all", ""));
  for (const each of mosaic.zones) {
    zone.add(new Option(`UTM ${each.zone}`, String(each.zone)));
  }

  const picture = new lib.WebGLTileLayer({
    source: new lib.GeoZarr({
      url: `${base}/global_rgb`,
      variable: "rgb",
      dimensions: { band: [0, 1, 2, 3] },
    }),
    style: {
      color: ["array", ["/", ["band", 1], 255], ["/", ["band", 2], 255],
        ["/", ["band", 3], 255], ["/", ["band", 4], 255]],
    },
  });
  picture.getSource().on("change", () => {
    const source = picture.getSource();
    if (source.getState() === "error") {
      tell(`The picture cannot be read: ${source.error_?.message ?? "no answer"}. ${SERVER}`);
    }
  });

  const outlines = new lib.VectorLayer({
    source: new lib.VectorSource(),
    style: new lib.Style({ stroke: new lib.Stroke({ color: "#ffd166", width: 1.5 }) }),
  });
  for (const each of mosaic.zones) {
    for (const box of each.boxes) {
      const shape = lib.fromExtent(box).transform("EPSG:4326", "EPSG:3857");
      outlines.getSource().addFeature(new lib.Feature(shape));
    }
  }
  const mark = new lib.VectorLayer({
    source: new lib.VectorSource(),
    style: new lib.Style({
      image: new lib.Circle({
        radius: 7,
        stroke: new lib.Stroke({ color: "#fff", width: 3 }),
        fill: new lib.Fill({ color: "#d62828" }),
      }),
    }),
  });
  const lines = new lib.Graticule({
    strokeStyle: new lib.Stroke({ color: "#ffffff40", width: 1 }),
    showLabels: true,
    wrapX: false,
    latLabelStyle: label("end"),
    lonLabelStyle: label("center"),
  });
  const map = new lib.Map({
    target: "map",
    layers: [picture, lines, outlines, mark],
    view: new lib.View({ projection: "EPSG:3857", maxZoom: 18 }),
  });
  map.addControl(new lib.ScaleLine());

  function label(align) {
    return new lib.Text({
      font: "11px system-ui, sans-serif",
      textAlign: align,
      textBaseline: "bottom",
      fill: new lib.Fill({ color: "#fff" }),
      stroke: new lib.Stroke({ color: "#000a", width: 2 }),
    });
  }

  function show() {
    const chosen = mosaic.zones.filter((each) => !zone.value || each.zone === Number(zone.value));
    const boxes = chosen.flatMap((each) => each.boxes);
    const whole = boxes.reduce((a, b) => [
      Math.min(a[0], b[0]), Math.min(a[1], b[1]), Math.max(a[2], b[2]), Math.max(a[3], b[3]),
    ]);
    const extent = lib.transformExtent(whole, "EPSG:4326", "EPSG:3857");
    map.getView().fit(extent, { padding: [30, 30, 30, 30], maxZoom: 14 });
  }
  zone.addEventListener("change", show);
  show();

  // The first three components of the year, of the zones that are shown

  const FAR = 80;
  let shown = [];
  function components() {
    shown.forEach((layer) => map.removeLayer(layer));
    shown = [];
    if (!byId("codes").checked) {
      return;
    }
    const step = mosaic.axis.indexOf(Number(year.value));
    const band = (n) => ["/", ["+", ["band", n], 127], 254];
    for (const each of mosaic.zones) {
      if (zone.value && each.zone !== Number(zone.value)) {
        continue;
      }
      const layer = new lib.WebGLTileLayer({
        source: new lib.GeoZarr({
          url: `${base}/${each.group}`,
          variable: "embeddings",
          dimensions: { time: step, band: [0, 1, 2] },
        }),
        style: { color: ["array", band(1), band(2), band(3), ["band", 4]] },
        // A shard has thousands of chunks: from afar that would be as many requests.
        maxResolution: FAR,
        extent: lib.transformExtent(hull(each.boxes), "EPSG:4326", "EPSG:3857"),
      });
      map.getLayers().insertAt(1, layer);
      shown.push(layer);
    }
    if (map.getView().getResolution() > FAR) {
      tell("The components show from nearer: zoom in, or click on a place.");
    }
  }
  const hull = (boxes) => boxes.reduce((a, b) => [
    Math.min(a[0], b[0]), Math.min(a[1], b[1]), Math.max(a[2], b[2]), Math.max(a[3], b[3]),
  ]);
  byId("codes").addEventListener("change", () => {
    tell("");
    components();
    if (byId("codes").checked) {
      nearer();
    }
  });
  function nearer() {
    const last = mark.getSource().getFeatures()[0];
    if (last && map.getView().getResolution() > FAR) {
      map.getView().setCenter(last.getGeometry().getCoordinates());
      map.getView().setResolution(FAR / 4);
    }
  }
  year.addEventListener("change", components);
  zone.addEventListener("change", components);
  map.on("moveend", () => {
    if (byId("codes").checked && map.getView().getResolution() <= FAR) {
      tell("");
    }
  });

  // What is at a place

  const opened = new Map();
  function array(path) {
    if (!opened.has(path)) {
      const at = lib.root(new lib.FetchStore(`${base}/${path}`));
      const found = lib.open.v3(at, { kind: "array" });
      found.catch(() => opened.delete(path));
      opened.set(path, found);
    }
    return opened.get(path);
  }
  async function value(path, selection) {
    const got = await lib.get(await array(path), selection);
    return typeof got === "object" && got !== null && "data" in got ? got.data : got;
  }

  function zoneAt(lon) {
    const number = Math.min(Math.max(Math.floor((lon + 180) / 6) + 1, 1), 60);
    return mosaic.zones.find((each) => each.zone === number);
  }

  const rounded = (number) => Number(number.toFixed(5));
  let asked = 0;

  async function look(lon, lat) {
    const turn = ++asked;
    mark.getSource().clear();
    const point = new lib.Point(lib.transform([lon, lat], "EPSG:4326", "EPSG:3857"));
    mark.getSource().addFeature(new lib.Feature(point));
    const found = byId("found");
    byId("hint").hidden = true;
    found.hidden = false;
    found.replaceChildren(node("p", "Reading …"));
    const here = zoneAt(lon);
    if (!here) {
      found.replaceChildren(node("p", "The mosaic has no zone here."));
      return;
    }
    const [x, y] = lib.transform([lon, lat], "EPSG:4326", here.code);
    const [width, , west, , height, north] = here.transform;
    const row = Math.floor((y - north) / height);
    const col = Math.floor((x - west) / width);
    const step = mosaic.axis.indexOf(Number(year.value));
    try {
      const scale = await value(`${here.group}/scales`, [step, row, col]);
      const counts = await Promise.all(
        mosaic.counts.map((name) => value(`${here.group}/${name}`, [step, row, col])));
      const codes = Number.isFinite(scale)
        ? await value(`${here.group}/embeddings`, [step, lib.slice(null), row, col]) : null;
      if (turn === asked) {
        found.replaceChildren(...told(lon, lat, here, scale, counts, codes));
      }
    } catch (error) {
      if (turn === asked) {
        found.replaceChildren(node("p", `It cannot be read: ${error.message}. ${SERVER}`));
      }
    }
  }

  function told(lon, lat, here, scale, counts, codes) {
    const parts = [node("h2", `${rounded(lat)}, ${rounded(lon)}, UTM ${here.zone}, ${year.value}`)];
    if (Number.isNaN(scale)) {
      parts.push(node("p", "Water: there is no embedding."));
    } else if (!codes) {
      parts.push(node("p", "Nothing is here in this year."));
    }
    const table = node("table", "");
    mosaic.counts.forEach((name, i) => {
      const line = node("tr", "");
      line.append(node("th", mosaic.titles[name]), node("td", String(counts[i])));
      table.append(line);
    });
    parts.push(table);
    if (codes) {
      parts.push(...vector(codes, scale));
    }
    parts.push(snippet("Python", python(lon, lat, here)), snippet("JavaScript", script(lon, lat, here)));
    const item = node("a", "STAC item of this zone and year");
    item.href = `stac/${here.group}_${year.value}.json`;
    const line = node("p", "");
    line.append(item);
    parts.push(line);
    return parts;
  }

  function vector(codes, scale) {
    const light = (code) => Math.round((code + 127) / 254 * 255);
    const strip = node("div", "");
    strip.className = "vector";
    for (const [n, code] of Array.from(codes).entries()) {
      const bar = document.createElement("i");
      bar.style.background = `rgb(${light(code)} ${light(code)} ${light(code)})`;
      bar.title = `${n}: ${(code * scale).toFixed(4)}`;
      strip.append(bar);
    }
    const swatch = node("span", "");
    swatch.className = "swatch";
    swatch.style.background = `rgb(${Array.from(codes.slice(0, 3), light).join(" ")})`;
    const first = node("p", "First 3 components as colour: ");
    first.append(swatch);
    return [first, node("p", `All ${codes.length}, from dark to light (scale ${scale.toPrecision(4)}):`), strip];
  }

  function python(lon, lat, here) {
    return `import xarray
from pyproj import Transformer

zone = xarray.open_zarr("${base}", group="${here.group}", chunks="auto")
x, y = Transformer.from_crs(4326, "${here.code}", always_xy=True).transform(${rounded(lon)}, ${rounded(lat)})
pixel = zone.sel(time=${year.value}).sel(x=x, y=y, method="nearest")
vector = pixel["embeddings"].values * pixel["scales"].values
`;
  }

  function script(lon, lat, here) {
    const [x, y] = lib.transform([lon, lat], "EPSG:4326", here.code);
    const [width, , west, , height, north] = here.transform;
    const at = `${mosaic.axis.indexOf(Number(year.value))}`;
    const row = Math.floor((y - north) / height);
    const col = Math.floor((x - west) / width);
    return `import * as zarr from "zarrita";

const at = zarr.root(new zarr.FetchStore("${base}"));
const read = async (name, place) =>
  zarr.get(await zarr.open.v3(at.resolve("${here.group}/" + name), { kind: "array" }), place);
const codes = await read("embeddings", [${at}, zarr.slice(null), ${row}, ${col}]);
const scale = await read("scales", [${at}, ${row}, ${col}]);
const vector = Array.from(codes.data, (code) => code * scale);
`;
  }

  function snippet(name, text) {
    const box = document.createElement("details");
    box.dataset.language = name;
    const copy = node("button", "copy");
    copy.type = "button";
    copy.addEventListener("click", () => navigator.clipboard?.writeText(text));
    box.append(node("summary", `${name} for this place`), node("pre", text), copy);
    return box;
  }

  function node(name, text) {
    const made = document.createElement(name);
    made.textContent = text;
    return made;
  }

  map.on("singleclick", (event) => {
    look(...lib.transform(event.coordinate, "EPSG:3857", "EPSG:4326"));
    if (byId("codes").checked) {
      nearer();
    }
  });
  year.addEventListener("change", () => {
    const last = mark.getSource().getFeatures()[0];
    if (last) {
      look(...lib.transform(last.getGeometry().getCoordinates(), "EPSG:3857", "EPSG:4326"));
    }
  });

  if (location.protocol === "file:") {
    tell(`Browsers do not let a page read files beside it, so the map stays empty. ${SERVER}`);
  }
  // For tests, and for people at the console.
  globalThis.mosaicPage = { map, look, mosaic };
})();
