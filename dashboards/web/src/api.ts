// What the private listener answers, in types (schema/openapi.yaml), and the one place that asks it.

export type Metric =
  | "daily_visitors" | "visits" | "pageviews" | "events" | "value" | "bounce_rate" | "visit_duration" | "engaged_time" | "scroll_depth"
  | "daily_actives" | "weekly_actives" | "monthly_actives" | "conversions" | "conversion_rate";
export type Unit = "count" | "seconds" | "percent" | "money";
export type Interval = "hour" | "day" | "week" | "month";
export type Cell = string | number | null;

export interface Site {
  id: string;
  timezone: string;
  /** The fewest visitors of a day that a value is named for. */
  k: number;
  /** Whether its visitors are told apart. */
  ids: boolean;
  first_day: string | null;
  today: string;
  /** The first day that is not closed; the first day of all where none is closed. */
  open_from: string | null;
  goals: string[];
  funnels: { name: string; steps: string[] }[];
  /** Dimensions that are kept together for closed days. */
  pairs: [string, string][];
  properties: string[];
}
export interface Sites {
  role: "admin" | "analyst" | "public";
  sites: Site[];
}
export interface Filter {
  dimension: string;
  is: string[];
}
export type Range = string | { from: string; to: string };
export interface Question {
  site: string;
  metrics: Metric[];
  dimensions?: string[];
  filters?: Filter[];
  range: Range;
  compare?: "previous" | "year";
  interval?: Interval;
  order?: { by: string; descending: boolean };
  limit?: number;
  offset?: number;
}
export interface Column {
  name: string;
  kind: "dimension" | "metric";
  unit?: Unit;
  /** How the figure was counted, in a sentence. */
  counted?: string;
}
export interface Part {
  from: string;
  to: string;
  rows: Cell[][];
  totals: Cell[];
}
export interface Answer extends Part {
  site: string;
  timezone: string;
  k: number;
  visits_as_of: number | null;
  columns: Column[];
  comparison: Part | null;
  folded: boolean;
  next_offset: number | null;
  notes: string[];
}
export interface Realtime {
  site: string;
  at: number;
  visitors: number;
  pageviews: number;
  minutes: number[];
}
export interface Outcomes {
  rows: [string, number][];
}

/** A question that has no answer: what is wrong with it, in a sentence, and what could be asked instead. */
export class Refusal extends Error {
  constructor(
    readonly status: number,
    readonly error: string,
    message: string,
    readonly allowed: string[] = [],
  ) {
    super(message);
  }
}

/** Below a share link everything else is below it too: `/share/TOKEN/v1/...`. */
const shared = /^.*\/share\/[^/]+(?=\/?$)/.exec(location.pathname)?.[0];
/** Whether this is a page for everybody: closed days, one site, nothing of the moment. */
export const isShared = shared !== undefined;
const root = shared ?? "";

const WORDS: Record<number, string> = {
  403: "This login may not see that site.",
  404: "This Headcount does not answer that question.",
  429: "Too many questions at once. Wait a moment.",
  503: "ClickHouse does not answer now. Events are still taken and kept.",
};

async function ask(path: string, request: RequestInit = {}): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(root + path, { cache: "no-store", ...request });
  } catch (error) {
    if (request.signal?.aborted) throw error;
    throw new Refusal(0, "away", "Headcount does not answer. Trying again …");
  }
  if (response.ok) return response;
  // The login has ended: the same address asks for the token.
  if (response.status === 401 && !isShared) location.reload();
  const told = (await response.json().catch(() => ({}))) as { error?: string; message?: string; allowed?: string[] };
  const words = told.message ?? WORDS[response.status] ?? `The answer was a ${response.status}.`;
  throw new Refusal(response.status, told.error ?? "", words, told.allowed);
}

async function get<T>(path: string, signal?: AbortSignal): Promise<T> {
  return (await ask(path, signal ? { signal } : {})).json() as Promise<T>;
}

const posted = (body: unknown): RequestInit => ({ method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });

export const sites = () => get<Sites>("/v1/sites");
export const query = async (question: Question, signal: AbortSignal) => (await ask("/v1/query", { ...posted(question), signal })).json() as Promise<Answer>;
export const csv = async (question: Question) => (await ask("/v1/query", posted({ ...question, format: "csv" }))).blob();
export const realtime = (site: string, signal: AbortSignal) => get<Realtime>(`/v1/realtime?${new URLSearchParams({ site })}`, signal);
export const outcomes = (site: string, from: string, to: string, signal: AbortSignal) =>
  get<Outcomes>(`/v1/outcomes?${new URLSearchParams({ site, from, to })}`, signal);
export const overview = <T>(signal: AbortSignal) => get<T>("/api/overview.json", signal);
