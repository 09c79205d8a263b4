// Figures and days as people read them. Texts are English; so are the forms of numbers and dates.

import type { Cell, Interval, Unit } from "./api.ts";

export const numbers = new Intl.NumberFormat("en");
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const percents = new Intl.NumberFormat("en", { style: "percent", maximumFractionDigits: 1 });
const wholePercents = new Intl.NumberFormat("en", { style: "percent", maximumFractionDigits: 0 });

/** Counts from here on are shortened where there is little room. */
const LONG = 10_000;

function duration(seconds: number): string {
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole}s`;
  if (whole < 3_600) return `${Math.floor(whole / 60)}m ${String(whole % 60).padStart(2, "0")}s`;
  return `${Math.floor(whole / 3_600)}h ${String(Math.floor((whole % 3_600) / 60)).padStart(2, "0")}m`;
}

/** A figure in its unit. `short` is for tiles and axes. */
export function figure(value: Cell | undefined, unit: Unit | undefined, length: "short" | "full" = "full"): string {
  if (value === null || value === undefined) return "–";
  const number = Number(value);
  switch (unit) {
    case "percent":
      return (length === "short" ? wholePercents : percents).format(number / 100);
    case "seconds":
      return duration(number);
    case "money":
      return new Intl.NumberFormat("en", { minimumFractionDigits: 2, maximumFractionDigits: 2 }).format(number);
    case "count":
    case undefined:
      if (length === "short" && number >= LONG) return compact.format(number);
      // An average of less than one is no nobody.
      return number > 0 && number < 0.05 ? "<0.1" : numbers.format(number < 10 ? Math.round(number * 10) / 10 : Math.round(number));
  }
}

/** How much more or less than before: `+12 %`. Nothing where there was nothing to compare with. */
export function change(now: Cell | undefined, before: Cell | undefined, unit: Unit | undefined): number | undefined {
  if (now === null || now === undefined || before === null || before === undefined) return undefined;
  // Of a rate the difference is told, in points; a rate of a rate misleads.
  if (unit === "percent") return (Number(now) - Number(before)) / 100;
  return Number(before) === 0 ? undefined : Number(now) / Number(before) - 1;
}

/** Days are texts, `2026-11-22`, and are counted in UTC, where each has 24 hours. */
const DAY_MILLIS = 86_400_000;
const instant = (day: string) => Date.parse(`${day.slice(0, 10)}T00:00:00Z`);
export const plusDays = (day: string, days: number) => new Date(instant(day) + days * DAY_MILLIS).toISOString().slice(0, 10);
export const daysBetween = (from: string, to: string) => Math.round((instant(to) - instant(from)) / DAY_MILLIS);
export const isDay = (text: string) => /^\d{4}-\d{2}-\d{2}$/.test(text) && !Number.isNaN(instant(text));

const form = (options: Intl.DateTimeFormatOptions) => new Intl.DateTimeFormat("en-GB", { timeZone: "UTC", ...options });
const dayAndMonth = form({ day: "numeric", month: "short" });
const withYear = form({ day: "numeric", month: "short", year: "numeric" });
const withWeekday = form({ weekday: "short", day: "numeric", month: "short" });
const monthAndYear = form({ month: "long", year: "numeric" });

export const dayText = (day: string) => withYear.format(instant(day));

/** `1 – 22 Nov 2026`, `28 Oct – 3 Nov 2026`. */
export function spanText(from: string, to: string): string {
  return from === to ? withYear.format(instant(from)) : withYear.formatRange(instant(from), instant(to));
}

/** A point of the chart: on its axis, or by itself. */
export function timeText(time: string, interval: Interval, length: "short" | "full"): string {
  switch (interval) {
    case "hour":
      return length === "short" ? `${time.slice(11, 13)}:00` : `${withWeekday.format(instant(time))}, ${time.slice(11, 13)}:00`;
    case "day":
      return (length === "short" ? dayAndMonth : withWeekday).format(instant(time));
    case "week":
      return length === "short" ? dayAndMonth.format(instant(time)) : `Week of ${dayAndMonth.format(instant(time))}`;
    case "month":
      return (length === "short" ? form({ month: "short" }) : monthAndYear).format(instant(time));
  }
}

/** The time of day of `millis` where the site is. */
export function clockText(millis: number, timezone: string): string {
  return new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", timeZone: timezone }).format(millis);
}
