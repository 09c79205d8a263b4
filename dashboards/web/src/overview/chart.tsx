// A line through the times of a range, over that of the range it is compared with. Arrow keys and pointer pick a point.

import { scaleLinear, scalePoint } from "d3-scale";
import { area, curveMonotoneX, line } from "d3-shape";
import { useEffect, useRef, useState } from "preact/hooks";
import type { Interval, Unit } from "../api.ts";
import { figure, timeText } from "../format.ts";

export interface Point {
  time: string;
  value: number | null;
  before: { time: string; value: number | null } | undefined;
}
interface ChartProps {
  points: Point[];
  interval: Interval;
  unit: Unit | undefined;
  name: string;
  /** Whether the last point is of a time that is not over. */
  isLastOpen: boolean;
}

const HEIGHT = 260;
const TOP = 14;
const BOTTOM = 28;
const RIGHT = 10;
const LETTER = 7;
const LABEL_WIDTH = 64;

export function Chart({ points, interval, unit, name, isLastOpen }: ChartProps) {
  const [place, width] = useWidth();
  const [picked, setPicked] = useState<number | undefined>();
  const values = points.flatMap(({ value, before }) => [value ?? 0, before?.value ?? 0]);
  const vertical = scaleLinear([0, Math.max(1e-9, ...values)], [HEIGHT - BOTTOM, TOP]).nice(4);
  const marks = marksOf(vertical, unit);
  const left = Math.max(...marks.map((mark) => figure(mark, unit, "short").length)) * LETTER + 10;
  const horizontal = scalePoint(points.map((_, index) => index), [left + 4, Math.max(left + 5, width - RIGHT)]);
  const x = (index: number) => horizontal(index) ?? left;
  const known = points.map((point, index) => ({ ...point, index })).filter(({ value }) => value !== null);
  const split = isLastOpen && known.length > 1 ? known.length - 1 : known.length;
  const solid = known.slice(0, split);
  const open = known.slice(Math.max(0, split - 1));
  const curve = line<(typeof known)[number]>().x(({ index }) => x(index)).y(({ value }) => vertical(value ?? 0)).curve(curveMonotoneX);
  const surface = area<(typeof known)[number]>().x(({ index }) => x(index)).y0(HEIGHT - BOTTOM).y1(({ value }) => vertical(value ?? 0)).curve(curveMonotoneX);
  const earlier = points.map(({ before }, index) => ({ value: before?.value ?? null, index })).filter(({ value }) => value !== null);
  const earlierLine = line<(typeof earlier)[number]>().x(({ index }) => x(index)).y(({ value }) => vertical(value ?? 0)).curve(curveMonotoneX);

  const pick = (index: number) => setPicked(Math.min(points.length - 1, Math.max(0, index)));
  const onPointer = (event: PointerEvent) => {
    const at = event.clientX - (event.currentTarget as Element).getBoundingClientRect().left;
    pick(Math.round((at - left - 4) / Math.max(1, horizontal.step())));
  };
  const onKey = (event: KeyboardEvent) => {
    const steps: Record<string, number> = { ArrowLeft: -1, ArrowRight: 1, Home: -points.length, End: points.length };
    const step = steps[event.key];
    if (event.key === "Escape") setPicked(undefined);
    if (step === undefined) return;
    event.preventDefault();
    pick((picked ?? (step < 0 ? points.length : -1)) + step);
  };
  const point = picked === undefined ? undefined : points[picked];

  return (
    <div
      class="chart"
      ref={place}
      tabIndex={0}
      role="application"
      aria-roledescription="chart"
      aria-label={`${name} over time. Arrow keys move through its ${points.length} points.`}
      onKeyDown={onKey}
      onPointerMove={onPointer}
      onPointerLeave={() => setPicked(undefined)}
      onBlur={() => setPicked(undefined)}
    >
      {width > 0 && (
        <svg width={width} height={HEIGHT} aria-hidden="true">
          {marks.map((mark) => (
            <g class="mark" key={mark}>
              <line x1={left} x2={width} y1={vertical(mark)} y2={vertical(mark)} />
              <text x={left - 8} y={vertical(mark)} dy="0.32em" text-anchor="end">{figure(mark, unit, "short")}</text>
            </g>
          ))}
          {labelled(points.length, width - left).map((index) => (
            <text class="time" key={index} x={x(index)} y={HEIGHT - 8} text-anchor={anchor(index, points.length)}>{timeText(points[index]!.time, interval, "short")}</text>
          ))}
          {earlier.length > 1 && <path class="before" d={earlierLine(earlier) ?? ""} />}
          {/* Under each of the two lines, so that it ends where they do. */}
          <path class="surface" d={`${surface(solid) ?? ""}${open.length > 1 && split < known.length ? surface(open) : ""}`} />
          <path class="now" d={curve(solid) ?? ""} />
          {open.length > 1 && split < known.length && <path class="now open" d={curve(open) ?? ""} />}
          {known.length === 1 && <circle class="dot" cx={x(known[0]!.index)} cy={vertical(known[0]!.value ?? 0)} r={4} />}
          {point && picked !== undefined && (
            <g class="picked">
              <line x1={x(picked)} x2={x(picked)} y1={TOP} y2={HEIGHT - BOTTOM} />
              {point.before && point.before.value !== null && <circle class="dot-before" cx={x(picked)} cy={vertical(point.before.value)} r={4} />}
              {point.value !== null && <circle class="dot" cx={x(picked)} cy={vertical(point.value)} r={5} />}
            </g>
          )}
        </svg>
      )}
      <div class="tip" role="status" data-side={picked !== undefined && x(picked) > width / 2 ? "left" : "right"} hidden={!point} style={{ "--x": `${picked === undefined ? 0 : x(picked)}px` }}>
        {point && (
          <>
            <strong>{timeText(point.time, interval, "full")}</strong>
            <span class="line now"><span>{name}</span> <b>{figure(point.value, unit)}</b></span>
            {point.before && <span class="line before"><span>{timeText(point.before.time, interval, "full")}</span> <b>{figure(point.before.value, unit)}</b></span>}
          </>
        )}
      </div>
    </div>
  );
}

/** Where the lines across are: round figures, and no half visitors. */
function marksOf(scale: ReturnType<typeof scaleLinear<number, number>>, unit: Unit | undefined): number[] {
  const marks = scale.ticks(4);
  return unit === "count" ? marks.filter(Number.isInteger) : marks;
}

/** Which points have a label: as many as there is room for, at even distances. */
function labelled(count: number, width: number): number[] {
  const step = Math.max(1, Math.ceil(count / Math.max(1, Math.floor(width / LABEL_WIDTH))));
  return Array.from({ length: Math.ceil(count / step) }, (_, index) => index * step);
}

const anchor = (index: number, count: number) => (count === 1 ? "middle" : index === count - 1 ? "end" : "middle");

function useWidth(): [{ current: HTMLDivElement | null }, number] {
  const place = useRef<HTMLDivElement>(null);
  const [width, setWidth] = useState(0);
  useEffect(() => {
    const element = place.current;
    if (!element) return;
    setWidth(element.clientWidth);
    const observer = new ResizeObserver(() => setWidth(element.clientWidth));
    observer.observe(element);
    return () => observer.disconnect();
  }, []);
  return [place, width];
}
