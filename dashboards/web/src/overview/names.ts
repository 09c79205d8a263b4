// Words for what the API names: dimensions, metrics, values, notes.

import type { Metric, Site } from "../api.ts";

const DIMENSIONS: Record<string, string> = {
  page: "pages",
  entry_page: "entry pages",
  exit_page: "exit pages",
  channel: "channels",
  source: "sources",
  referrer: "referrers",
  utm_source: "campaign sources",
  utm_medium: "campaign media",
  utm_campaign: "campaigns",
  country: "countries",
  browser: "browsers",
  os: "systems",
  device: "devices",
  screen: "screens",
  language: "languages",
  event: "events",
  event_property: "properties",
  goal: "goals",
  funnel: "funnels",
};
const SINGULAR: Record<string, string> = {
  page: "Page", entry_page: "Entry page", exit_page: "Exit page", channel: "Channel", source: "Source", referrer: "Referrer", utm_source: "Campaign source",
  utm_medium: "Campaign medium", utm_campaign: "Campaign", country: "Country", browser: "Browser", os: "System", device: "Device", screen: "Screen", language: "Language",
  event: "Event", event_property: "Property", goal: "Goal", funnel: "Step",
};
export const dimensionName = (dimension: string) => DIMENSIONS[dimension] ?? dimension;
export const singular = (dimension: string) => SINGULAR[dimension] ?? dimension;

export const METRICS: Record<Metric, { long: string; short: string; lessIsMore?: true }> = {
  daily_visitors: { long: "Daily visitors", short: "Visitors" },
  visits: { long: "Visits", short: "Visits" },
  pageviews: { long: "Page views", short: "Views" },
  events: { long: "Events", short: "Events" },
  value: { long: "Value", short: "Value" },
  bounce_rate: { long: "Bounce rate", short: "Bounces", lessIsMore: true },
  visit_duration: { long: "Visit duration", short: "Duration" },
  engaged_time: { long: "Engaged time", short: "Engaged" },
  scroll_depth: { long: "Scroll depth", short: "Scroll" },
  daily_actives: { long: "Daily actives", short: "Daily" },
  weekly_actives: { long: "Weekly actives", short: "Weekly" },
  monthly_actives: { long: "Monthly actives", short: "Monthly" },
  conversions: { long: "Conversions", short: "Conversions" },
  conversion_rate: { long: "Conversion rate", short: "Rate" },
};

/** Many small values together. */
export const OTHER = "(other)";

const CHANNELS: Record<string, string> = {
  direct: "Direct", internal: "Within the site", search: "Search", social: "Social networks", ai_assistant: "AI assistants", email: "E-mail", paid: "Paid", referral: "Other websites",
};
const DEVICES: Record<string, string> = { desktop: "Desktop", mobile: "Phone", tablet: "Tablet", tv: "Television", console: "Console", other: "Something else" };
const SCREENS: Record<string, string> = { xs: "Very small", s: "Small", m: "Medium", l: "Large", xl: "Very large" };
const EMPTY: Record<string, string> = { source: "Direct or unknown", referrer: "Direct or unknown", channel: "Unknown" };

const namesOf = (type: "region" | "language") => new Intl.DisplayNames(["en"], { type, fallback: "code" });
const regions = namesOf("region");
const languages = namesOf("language");

export function countryName(code: string): string {
  if (code === "" || code === "ZZ" || !/^[A-Z]{2}$/.test(code)) return "Unknown";
  return regions.of(code) ?? code;
}

/** A value as people say it. */
export function valueName(dimension: string, value: string): string {
  if (value === OTHER) return "Other, together";
  if (dimension === "country") return countryName(value);
  if (value === "") return EMPTY[dimension] ?? "Unknown";
  switch (dimension) {
    case "channel":
      return CHANNELS[value] ?? value;
    case "device":
      return DEVICES[value] ?? value;
    case "screen":
      return SCREENS[value] ?? value;
    case "language":
      return /^[a-zA-Z-]{2,12}$/.test(value) ? (languages.of(value) ?? value) : value;
    default:
      return value;
  }
}

export interface Note {
  short: string;
  long: string;
}

/** What to know about figures, by the notes of an answer. A note that this page does not know says nothing to its reader. */
export function noteText(note: string, site: Site): Note | undefined {
  switch (note) {
    case "folded":
      return {
        short: `Values under ${site.k} visitors a day are in “Other”`,
        long: "So nobody is found behind a rare value. When a day is closed, such values wait for their week, then their month, and stay in “Other” if they are still too few.",
      };
    case "rounded_pairs":
      return { short: `Rounded to multiples of ${site.k}`, long: "Under a filter, each figure of closed days was rounded at random, up or down, so that no small one can be worked out from others." };
    case "small_left_out":
      return {
        short: `Left out: what fewer than ${site.k} visitors of a day have`,
        long: "Also a goal or a step that all but so few have reached: whoever knows all visits would know how many have not.",
      };
    case "counts_since_declared":
      return { short: "Counts from the day it was declared", long: "Days that were closed before have not been looked at for it, and their visits are in no rate." };
    case "conversions_are_events":
      return { short: "Events are counted here, and their rate is of entries", long: "No visitors are told apart on this site, so nobody knows which events are of one visit." };
    case "visits_pending":
      return { short: "The visits of the last minutes are still to be counted", long: "" };
    case "small_days_left_out":
      return { short: `Days that are not closed yet, and days of fewer than ${site.k} visitors, are left out`, long: "" };
    case "without_ids":
      return { short: "No visitors are told apart here: a visit is counted by its first view", long: "" };
    default:
      return undefined;
  }
}
