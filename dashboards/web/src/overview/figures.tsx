// The figures of the whole site: tiles with what changed, and the chart of the one that is picked.

import { useState } from "preact/hooks";
import { go } from "../address.ts";
import type { Address } from "../address.ts";
import { isShared, query } from "../api.ts";
import type { Answer, Cell, Column, Interval, Metric, Part, Question, Site } from "../api.ts";
import { useAsked } from "../asked.ts";
import { change, clockText, daysBetween, figure, numbers, plusDays, spanText, timeText } from "../format.ts";
import { Icon } from "../parts/icon.tsx";
import { Chart } from "./chart.tsx";
import type { Point } from "./chart.tsx";
import { METRICS, noteText } from "./names.ts";
import { common, intervalOf, spanOf, tileMetrics, toldBy } from "./rules.ts";
import type { Span } from "./rules.ts";
import { Refused } from "./refused.tsx";

/** How often figures of a range with today are read again. */
export const FRESH_SECONDS = 60;

export function Figures({ site, address }: { site: Site; address: Address }) {
  const span = spanOf(address.range, site.today);
  const interval = intervalOf(span);
  // Hours are of the whole site alone.
  const hasTimes = interval !== "hour" || address.filters.length === 0;
  const question: Question = {
    ...common(site, address),
    metrics: toldBy(site, span, address.filters, tileMetrics(site)),
    ...(address.compare === "none" ? {} : { compare: address.compare }),
    ...(hasTimes ? { interval } : {}),
  };
  const key = JSON.stringify(question);
  const asked = useAsked(key, (signal) => query(question, signal), span.to === site.today ? FRESH_SECONDS : undefined);
  const { answer } = asked;
  const metric = question.metrics.find((name) => name === address.metric) ?? question.metrics[0]!;

  return (
    <section class="card figures" aria-labelledby="figures" aria-busy={asked.waiting}>
      <h2 id="figures" class="unseen">Figures of {site.id}, {spanText(span.from, span.to)}</h2>
      {asked.refusal && !answer ? (
        <Refused refusal={asked.refusal} again={asked.again} />
      ) : (
        <>
          <Tiles answer={answer} metrics={question.metrics} picked={metric} />
          {hasTimes ? <Times answer={answer} metric={metric} interval={interval} span={span} site={site} /> : <p class="empty">Hours are counted for the whole site. Remove the filter to see them.</p>}
          {answer && <Below answer={answer} site={site} />}
        </>
      )}
    </section>
  );
}

const metricColumns = (answer: Answer) => answer.columns.filter(({ kind }) => kind === "metric");
const columnOf = (answer: Answer | undefined, metric: Metric): [Column | undefined, number] => {
  const columns = answer ? metricColumns(answer) : [];
  const index = columns.findIndex(({ name }) => name === metric);
  return [columns[index], index];
};

function Tiles({ answer, metrics, picked }: { answer: Answer | undefined; metrics: Metric[]; picked: Metric }) {
  return (
    <div class="tiles" role="group" aria-label="Figures: choose one for the chart">
      {metrics.map((metric) => {
        const [column, index] = columnOf(answer, metric);
        const [now, before] = [answer?.totals[index], answer?.comparison?.totals[index]];
        return (
          <button type="button" class="tile" key={metric} aria-pressed={metric === picked} title={column?.counted} onClick={() => go({ metric }, "in place")}>
            <span class="label">{METRICS[metric].long}</span>
            {answer ? <span class="value">{figure(now, column?.unit, "short")}</span> : <span class="value ghost" aria-label="Loading">000</span>}
            {answer?.comparison && <Change metric={metric} now={now} before={before} column={column} />}
          </button>
        );
      })}
    </div>
  );
}

function Change({ metric, now, before, column }: { metric: Metric; now: Cell | undefined; before: Cell | undefined; column: Column | undefined }) {
  const by = change(now, before, column?.unit);
  if (by === undefined) return <span class="change">was {figure(before, column?.unit, "short")}</span>;
  const amount = `${numbers.format(Math.round(Math.abs(by) * 100))}${column?.unit === "percent" ? " pts" : "%"}`;
  const direction = Math.round(by * 100) === 0 ? "same" : by > 0 ? "up" : "down";
  const isGood = (direction === "up") !== (METRICS[metric].lessIsMore ?? false);
  return (
    <span class={`change ${direction === "same" ? "" : isGood ? "good" : "bad"}`}>
      {direction === "same" ? "unchanged" : <><span aria-hidden="true">{direction === "up" ? "↑" : "↓"}</span><span class="unseen">{direction} by</span> {amount}</>} <span class="was">was {figure(before, column?.unit, "short")}</span>
    </span>
  );
}

interface TimesProps {
  answer: Answer | undefined;
  metric: Metric;
  interval: Interval;
  span: Span;
  site: Site;
}

function Times({ answer, metric, interval, span, site }: TimesProps) {
  const [asTable, setAsTable] = useState(false);
  if (!answer) return <div class="chart ghost" aria-hidden="true" />;
  const [column, index] = columnOf(answer, metric);
  if (!answer.columns.some(({ name }) => name === "time")) return <div class="chart" />;
  const points = pointsOf(answer, interval, index);
  const name = METRICS[metric].long;
  const isLastOpen = span.to === site.today && !isShared;
  return (
    <div class="times">
      <div class="legend">
        <span class="key now">{spanText(answer.from, answer.to)}</span>
        {answer.comparison && <span class="key before">{spanText(answer.comparison.from, answer.comparison.to)}</span>}
        <button type="button" class="icon small" aria-pressed={asTable} aria-label="Show the chart as a table" title="Show the chart as a table" onClick={() => setAsTable(!asTable)}>
          <Icon name="table" />
        </button>
      </div>
      {asTable ? (
        <div class="scroll" tabIndex={0} role="region" aria-label={`${name} as a table`}>
          <table class="plain">
            <thead><tr><th scope="col">Time</th><th scope="col">{name}</th>{answer.comparison && <th scope="col">Before</th>}</tr></thead>
            <tbody>
              {points.map(({ time, value, before }) => (
                <tr key={time}>
                  <th scope="row">{timeText(time, interval, "full")}</th>
                  <td>{figure(value, column?.unit)}</td>
                  {answer.comparison && <td>{figure(before?.value, column?.unit)}</td>}
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      ) : (
        <Chart points={points} interval={interval} unit={column?.unit} name={name} isLastOpen={isLastOpen} />
      )}
    </div>
  );
}

/** Every time of the range, with or without events; those to come have no figure. */
function pointsOf(answer: Answer, interval: Interval, metric: number): Point[] {
  const now = timesOf(answer, interval);
  const earlier = answer.comparison ? timesOf(answer.comparison, interval) : [];
  const valueOf = (part: Part, time: string) => {
    const row = part.rows.find(([at]) => at === time);
    return row ? Number(row[row.length - answer.totals.length + metric] ?? 0) : 0;
  };
  const last = answer.rows.reduce((latest, [time]) => (String(time) > latest ? String(time) : latest), "");
  return now.map((time, index) => {
    const before = earlier[index];
    return {
      time,
      value: time > last && isToCome(time, answer) ? null : valueOf(answer, time),
      before: before === undefined || !answer.comparison ? undefined : { time: before, value: valueOf(answer.comparison, before) },
    };
  });
}

/** Whether `time` begins after now, where the site is. */
function isToCome(time: string, { timezone }: Answer): boolean {
  const now = new Intl.DateTimeFormat("sv-SE", { timeZone: timezone, dateStyle: "short", timeStyle: "short" }).format(Date.now()).replace(" ", "T");
  return time > now.slice(0, time.length);
}

function timesOf({ from, to }: Span, interval: Interval): string[] {
  const days = Array.from({ length: daysBetween(from, to) + 1 }, (_, index) => plusDays(from, index));
  switch (interval) {
    case "hour":
      return days.flatMap((day) => Array.from({ length: 24 }, (_, hour) => `${day}T${String(hour).padStart(2, "0")}`));
    case "day":
      return days;
    case "week":
      return [...new Set(days.map((day) => plusDays(day, -((daysBetween("1970-01-05", day) % 7 + 7) % 7))))];
    case "month":
      return [...new Set(days.map((day) => `${day.slice(0, 8)}01`))];
  }
}

/** As of when, whose days, and what else to know. */
function Below({ answer, site }: { answer: Answer; site: Site }) {
  const words = [
    answer.visits_as_of === null ? "" : `Visits as of ${clockText(answer.visits_as_of, answer.timezone)}`,
    `Days in ${answer.timezone.replaceAll("_", " ")}`,
    answer.from === answer.to || !site.ids ? "" : "Visitors are told apart for one day: over more, the figure is the daily average",
    ...answer.notes.filter((note) => note !== "folded").map((note) => noteText(note, site)?.short ?? ""),
  ];
  return <p class="below">{words.filter(Boolean).map((text) => <span key={text}>{text}</span>)}</p>;
}
