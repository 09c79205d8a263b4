// The map: each country in a shade of its share. The list beside it says the same in words, so the map itself is for the eyes.

import { scaleSqrt } from "d3-scale";
import { useEffect, useState } from "preact/hooks";
import type { Answer } from "../api.ts";
import { figure } from "../format.ts";
import { METRICS, countryName } from "./names.ts";

type Sheet = typeof import("virtual:world").default;

/** Shades from the faintest to the strongest; style sheets know their colours. */
const SHADES = 6;

interface WorldProps {
  answer: Answer;
  pick: { pick: (value: string) => void; why: string | undefined };
}

export function World({ answer, pick: { pick, why } }: WorldProps) {
  const sheet = useSheet();
  const [over, setOver] = useState<string | undefined>();
  const metric = answer.columns.findIndex(({ kind }) => kind === "metric");
  const column = answer.columns[metric];
  const values = new Map(answer.rows.map((row) => [String(row[0]), Number(row[metric] ?? 0)]));
  const shade = scaleSqrt([0, Math.max(1, ...values.values())], [1, SHADES]).clamp(true);
  const shadeOf = (code: string) => (values.get(code) ? Math.round(shade(values.get(code)!)) : 0);
  if (!sheet) return <div class="world ghost" />;
  const events = (code: string) => ({
    "data-country": code,
    "data-shade": shadeOf(code),
    onPointerEnter: () => setOver(code),
    onPointerLeave: () => setOver(undefined),
    onClick: () => values.has(code) && pick(code),
  });
  const words = METRICS[column?.name as keyof typeof METRICS]?.long.toLowerCase() ?? "";
  return (
    <div class="world">
      <svg viewBox={`0 0 ${sheet.width} ${sheet.height}`} aria-hidden="true" class={why === undefined ? "" : "fixed"}>
        {Object.entries(sheet.shapes).map(([code, path]) => <path key={code} d={path} {...events(code)} />)}
        {Object.entries(sheet.places).map(([code, [x, y]]) => values.has(code) && <circle key={code} cx={x} cy={y} r={4} {...events(code)} />)}
      </svg>
      <p class="over" aria-hidden="true">{over ? `${countryName(over)}: ${values.has(over) ? `${figure(values.get(over), column?.unit)} ${words}` : "none, or too few to be named"}` : " "}</p>
    </div>
  );
}

/** The sheet is loaded after what can be read. */
function useSheet(): Sheet | undefined {
  const [sheet, setSheet] = useState<Sheet>();
  useEffect(() => {
    import("virtual:world").then((world) => setSheet(world.default), () => undefined);
  }, []);
  return sheet;
}
