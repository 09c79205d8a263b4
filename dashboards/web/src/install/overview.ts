// What the installation check is made of: /api/overview.json (overview.schema.json), and what its figures mean in words.

import { numbers } from "../format.ts";
import { dropped as left, refused as sentBack } from "../reasons.ts";

type Reasons = [reason: string, count: number][];

export interface Check {
  last_event_seconds: number | null;
  accepted: number;
  dropped: Reasons;
  refused: Reasons;
  masked_paths: number;
}
export interface SiteOverview {
  site: string;
  timezone: string;
  snippet: string | null;
  today: { views: number; visitors: number; events: number } | null;
  check: Check;
}
export interface Overview {
  version: string;
  read_at_millis: number;
  close_after_hours: number | null;
  proxy_banner: string | null;
  store_answers: boolean;
  unattributed?: Reasons;
  sites: SiteOverview[];
}

/** A site that has been silent for longer is worth a second look. */
const SILENT_SECONDS = 600;

const sum = (pairs: Reasons) => pairs.reduce((total, [, count]) => total + count, 0);

function ago(seconds: number): string {
  const steps: [number, number, string][] = [[120, 1, "second"], [7_200, 60, "minute"], [172_800, 3_600, "hour"], [Infinity, 86_400, "day"]];
  const [, size, unit] = steps.find(([below]) => seconds < below)!;
  const amount = Math.floor(seconds / size);
  return `${numbers.format(amount)} ${unit}${amount === 1 ? "" : "s"} ago`;
}

/** What the check says: good, bad or to be waited for, and the words. */
export function verdict({ last_event_seconds: seconds, accepted, dropped, refused }: Check): ["good" | "wait" | "bad", string] {
  if (seconds !== null) return [seconds > SILENT_SECONDS ? "wait" : "good", `Last event ${ago(seconds)}`];
  if (sum(refused)) return ["bad", "Events arrive, but are refused"];
  if (sum(dropped)) return ["wait", "Events arrive, none is counted yet"];
  return accepted ? ["good", "Events arrive"] : ["wait", "Waiting for the first event"];
}

export interface Line {
  kind: "accepted" | "none" | "refused" | "dropped" | "masked";
  count: number;
  what: string;
  why: string;
}

/** The lines under "Last 10 minutes". */
export function lines({ accepted, dropped, refused, masked_paths: masked }: Check): Line[] {
  const explained = (kind: Line["kind"], before: string, words: typeof left) => ([reason, count]: [string, number]): Line => {
    const [what, why] = words[reason] ?? [reason, ""];
    return { kind, count, what: `${before}: ${what}`, why };
  };
  const result: Line[] = [
    {
      kind: accepted ? "accepted" : "none",
      count: accepted,
      what: accepted === 1 ? "event counted" : "events counted",
      why: accepted ? "Page views, time on pages and custom events." : "",
    },
    ...refused.map(explained("refused", "Refused", sentBack)),
    ...dropped.map(explained("dropped", "Not counted", left)),
  ];
  if (masked) {
    const what = masked === 1 ? "path was masked" : "paths were masked";
    result.push({ kind: "masked", count: masked, what, why: "Something in them looked like a person's. If it is public, name the path under path_keep." });
  }
  return result;
}

/** The site of the private listener's own pages, which carry its tag. */
export const isDemonstration = ({ snippet }: SiteOverview) => snippet === null;
const isOfThisMachine = (site: SiteOverview) => isDemonstration(site) || site.site === "localhost";
const isSilent = ({ today, check }: SiteOverview) => !(today?.views || check.last_event_seconds !== null || sum(check.dropped) || sum(check.refused));

/** Which sites are shown, and whether nobody has added one yet. */
export function shown(all: SiteOverview[]): { first: boolean; sites: SiteOverview[] } {
  const first = all.every(isOfThisMachine);
  return { first, sites: first ? all : all.filter((site) => !isDemonstration(site) || !isSilent(site)) };
}

export function notices({ proxy_banner: proxy, store_answers: answers, unattributed = [] }: Overview): [title: string, text: string][] {
  const found: [string, string][] = [];
  if (proxy) found.push(["Visitors cannot be told apart", proxy]);
  if (!answers) found.push(["Today's totals cannot be read now", "Events are still taken and kept; they are counted when ClickHouse answers again."]);
  for (const [reason, count] of unattributed) {
    const [what, why] = sentBack[reason] ?? [reason, ""];
    found.push([`${what} (${numbers.format(count)} in the last 10 minutes)`, why]);
  }
  return found;
}

export const promise = (hours: number | null) =>
  `Headcount keeps no address. It holds a one-day, one-site pseudonym ${
    hours === null ? "and does not erase open days yet." : `until the day is closed, ${hours} hours after its start; then only counts.`
  }`;
