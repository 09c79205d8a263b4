// The map of the world as the application loads it: drawn once, at build time, so that no browser computes a projection.
//
// `import world from "virtual:world"` gives a path for each country by its two letters, on a sheet of WIDTH x HEIGHT. Countries too small to be seen, or to be
// hit, get a circle. Shapes are Natural Earth's, by way of world-atlas; Antarctica is left out, as nobody browses there.

import { createRequire } from "node:module";
import { geoArea, geoPath } from "d3-geo";
import type { ExtendedFeatureCollection, GeoProjection } from "d3-geo";
import { feature } from "topojson-client";
import type { GeometryCollection, Topology } from "topojson-specification";
import type { Plugin } from "vite";

const require = createRequire(import.meta.url);
const { geoNaturalEarth2 } = require("d3-geo-projection") as { geoNaturalEarth2: () => GeoProjection };
const { whereNumeric } = require("iso-3166-1") as { whereNumeric: (code: string) => { alpha2: string } | undefined };

const WIDTH = 960;
const HEIGHT = 470;
/** Of the sphere: below it, a country is a circle as well (Luxembourg is; Lebanon is not). */
const SMALL_STERADIANS = 0.0002;
const ANTARCTICA = "AQ";

type Countries = Topology<{ countries: GeometryCollection }>;

function draw(): { width: number; height: number; shapes: Record<string, string>; places: Record<string, [number, number]> } {
  // The coarse shapes where there is one, and the fine ones for the places of those that it leaves out.
  const coarse = countries("countries-110m.json");
  const fine = countries("countries-50m.json");
  const whole: ExtendedFeatureCollection = { type: "FeatureCollection", features: coarse.features.filter((country) => code(country.id) !== ANTARCTICA) };
  const projection = geoNaturalEarth2().fitExtent([[2, 2], [WIDTH - 2, HEIGHT - 2]], whole);
  const path = geoPath(projection).digits(0);

  const shapes: Record<string, string> = {};
  for (const country of coarse.features) {
    const letters = code(country.id);
    const shape = path(country);
    if (letters && shape && letters !== ANTARCTICA) shapes[letters] = shape;
  }
  const places: Record<string, [number, number]> = {};
  for (const country of fine.features) {
    const letters = code(country.id);
    if (!letters || letters === ANTARCTICA || (shapes[letters] && geoArea(country) > SMALL_STERADIANS)) continue;
    const [x, y] = path.centroid(country);
    if (Number.isFinite(x) && Number.isFinite(y)) places[letters] = [Math.round(x), Math.round(y)];
  }
  return { width: WIDTH, height: HEIGHT, shapes, places };
}

function countries(file: string) {
  const atlas = require(`world-atlas/${file}`) as Countries;
  return feature(atlas, atlas.objects.countries);
}

/** Two letters for the number that the atlas knows a country by. */
function code(number: string | number | undefined): string | undefined {
  return number === undefined ? undefined : whereNumeric(String(number).padStart(3, "0"))?.alpha2;
}

const NAME = "virtual:world";

export function world(): Plugin {
  return {
    name: "world",
    resolveId: (id) => (id === NAME ? `\0${NAME}` : undefined),
    load: (id) => (id === `\0${NAME}` ? `export default JSON.parse(${JSON.stringify(JSON.stringify(draw()))});` : undefined),
  };
}
