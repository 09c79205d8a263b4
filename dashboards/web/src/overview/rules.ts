// Which days a range means, and what can be asked about them: of closed days only what was kept together.

import type { Address } from "../address.ts";
import { isShared } from "../api.ts";
import type { Filter, Interval, Metric, Range, Site } from "../api.ts";
import { daysBetween, isDay, plusDays } from "../format.ts";
import { dimensionName } from "./names.ts";

export interface Span {
  from: string;
  to: string;
}

export const PRESETS: [range: string, name: string][] = [
  ["today", "Today"],
  ["yesterday", "Yesterday"],
  ["7d", "Last 7 days"],
  ["30d", "Last 30 days"],
  ["month", "This month"],
  ["12months", "Last 12 months"],
];

/** The first and the last day of `range`, which end with today unless they say otherwise. */
export function spanOf(range: string, today: string): Span {
  const month = today.slice(0, 8);
  switch (range) {
    case "today":
      return { from: today, to: today };
    case "yesterday":
      return { from: plusDays(today, -1), to: plusDays(today, -1) };
    case "7d":
      return { from: plusDays(today, -6), to: today };
    case "month":
      return { from: `${month}01`, to: today };
    case "12months":
      return { from: plusDays(`${Number(today.slice(0, 4)) - 1}${today.slice(4).replace("02-29", "02-28")}`, 1), to: today };
    default:
      return custom(range) ?? { from: plusDays(today, -29), to: today };
  }
}

/** The days of `2026-11-01..2026-11-22`. */
export function custom(range: string): Span | undefined {
  const [from = "", to = ""] = range.split("..");
  return isDay(from) && isDay(to) && from <= to ? { from, to } : undefined;
}

/** `range` as the API has it. */
export function askedRange(range: string): Range {
  return custom(range) ?? (PRESETS.some(([name]) => name === range) ? range : "30d");
}

const DAYS_BY_DAY = 92;
const DAYS_BY_WEEK = 200;

export function intervalOf({ from, to }: Span): Interval {
  const days = daysBetween(from, to) + 1;
  // Hours are not for everybody.
  if (days === 1) return isShared ? "day" : "hour";
  if (days <= DAYS_BY_DAY) return "day";
  return days <= DAYS_BY_WEEK ? "week" : "month";
}

/** Whether `span` holds a day of which only finished figures are left. */
export const hasClosedDays = (site: Site, span: Span) => site.open_from !== null && site.open_from !== site.first_day && span.from < site.open_from;

/** Figures of the tiles. Without ids nobody is told apart: there are visits by their first view, and views. */
export const tileMetrics = (site: Site): Metric[] => (site.ids ? ["daily_visitors", "visits", "pageviews", "bounce_rate", "visit_duration"] : ["visits", "pageviews"]);

/** What only events have: of closed days, nothing is known of the visits that they were part of. */
const STAND_INS: Record<string, Metric> = { page: "pageviews", event: "events", event_property: "events" };
const OF_VISITS = new Set<Metric>(["visits", "bounce_rate", "visit_duration"]);

/** Those of `metrics` that can be told of these days under `filters`, with views or events in the place of visits. */
export function toldBy(site: Site, span: Span, filters: Filter[], metrics: Metric[]): Metric[] {
  const standIn = filters.map(({ dimension }) => STAND_INS[dimension]).find(Boolean);
  if (!standIn || !site.ids || !hasClosedDays(site, span)) return metrics;
  return [...new Set([...metrics.map((metric) => (metric === "visits" ? standIn : metric)).filter((metric) => !OF_VISITS.has(metric))])];
}

const keptTogether = (site: Site, one: string, other: string) => site.pairs.some(([first, second]) => (first === one && second === other) || (first === other && second === one));

/** Why no filter on `dimension` can be added; nothing when it can. */
export function whyNoFilter(site: Site, span: Span, filters: Filter[], dimension: string): string | undefined {
  const others = filters.filter((filter) => filter.dimension !== dimension);
  if (others.length === 0 || !hasClosedDays(site, span)) return undefined;
  if (isShared) return "By a link one filter can be set, not two. Remove the other filter first.";
  return "Some of these days are closed: of them one filter is kept, not two. Remove the other filter first, or look at today and yesterday.";
}

/** Why `dimension` cannot be shown under `filters`; nothing when it can. */
export function whyNotShown(site: Site, span: Span, filters: Filter[], dimension: string): string | undefined {
  if (!hasClosedDays(site, span)) return undefined;
  const others = filters.filter((filter) => filter.dimension !== dimension);
  if (filters.length > 1) return "Some of these days are closed: of them one filter is kept, not two. Remove a filter, or look at today and yesterday.";
  if (isShared && others.length) return "By a link, figures are cut one way at a time. Remove the filter to see these.";
  const [filter] = others;
  if (!filter || keptTogether(site, dimension, filter.dimension)) return undefined;
  const kept = site.pairs.filter((pair) => pair.includes(filter.dimension)).map(([first, second]) => dimensionName(first === filter.dimension ? second : first));
  const instead = kept.length ? ` Kept with it: ${kept.join(", ")}.` : "";
  return `Of closed days, ${dimensionName(dimension)} and ${dimensionName(filter.dimension)} are not kept together.${instead}`;
}

/** The filters with `value` put in, or taken out if it is there. */
export function toggled(filters: Filter[], dimension: string, value: string): Filter[] {
  const others = filters.filter((filter) => filter.dimension !== dimension);
  const isThere = filters.some((filter) => filter.dimension === dimension && filter.is.includes(value));
  return isThere ? others : [...others, { dimension, is: [value] }];
}

/** What every question of the page has in common. */
export const common = (site: Site, { range, filters }: Address) => ({
  site: site.id,
  range: askedRange(range),
  ...(filters.length ? { filters } : {}),
});
