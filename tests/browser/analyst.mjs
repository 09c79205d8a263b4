// A stand-in for what analysts ask (`/v1/...`), with sixty days of believable traffic, the same on every run. It answers as the collector does: shapes, refusals, folding, rounding.

/** Monday, a quiet afternoon in Berlin. */
export const NOW = Date.parse("2026-11-23T13:42:00Z");
export const TODAY = "2026-11-23";
const FIRST_DAY = "2026-09-25";
const OPEN_FROM = "2026-11-22";
const K = 5;
const OTHER = "(other)";
const DAY_MILLIS = 86_400_000;

const PAIRS = [];
for (const content of ["page", "event"]) for (const other of ["source", "channel", "utm_campaign", "country", "device", "entry_page"]) PAIRS.push([content, other]);
for (const origin of ["source", "channel", "utm_campaign"]) for (const other of ["country", "device", "entry_page"]) PAIRS.push([origin, other]);
PAIRS.push(["country", "device"]);

export const SITES = {
  role: "admin",
  sites: [
    { id: "example.org", timezone: "Europe/Berlin", k: K, ids: true, first_day: FIRST_DAY, open_from: OPEN_FROM, today: TODAY, goals: ["Signed up", "Bought"], funnels: [], pairs: PAIRS, properties: ["plan"] },
    { id: "quiet.example", timezone: "America/New_York", k: K, ids: false, first_day: FIRST_DAY, open_from: OPEN_FROM, today: TODAY, goals: [], funnels: [], pairs: PAIRS, properties: [] },
  ],
};

const day = (text) => Date.parse(`${text}T00:00:00Z`) / DAY_MILLIS;
const text = (number) => new Date(number * DAY_MILLIS).toISOString().slice(0, 10);

/** Numbers from 0 to 1 that look random and are always the same (mulberry32). */
function seeded(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let mixed = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

const PAGES = { "/": 30, "/pricing": 14, "/docs/getting-started": 13, "/blog/counting-without-watching": 12, "/features": 8, "/docs/configuration": 6, "/blog/why-no-banner": 5, "/docs/api": 5, "/about": 3, "/changelog": 2.5, "/blog/small-numbers": 2, "/contact": 1.2, "/docs/self-hosting/behind-a-proxy-with-a-path-of-its-own": 1, "/imprint": 0.15, "/jobs/typesetter": 0.08 };
const SOURCES = { "": ["direct", 34], Google: ["search", 27], DuckDuckGo: ["search", 6], "Hacker News": ["social", 5], Mastodon: ["social", 5], GitHub: ["referral", 8], ChatGPT: ["ai_assistant", 4], newsletter: ["email", 6], Bing: ["search", 3], "Google Ads": ["paid", 2.5], "lobste.rs": ["referral", 0.5], "small-blog.example": ["referral", 0.08] };
const CAMPAIGNS = { newsletter: ["november-letter", "october-letter", "welcome"], "Google Ads": ["brand", "privacy-analytics"] };
const COUNTRIES = { DE: 30, US: 17, AT: 7, CH: 6, FR: 6, GB: 6, NL: 5, PL: 3, IN: 4, BR: 3, CA: 2.5, ES: 2, IT: 2, SE: 1.6, JP: 1.5, AU: 1.2, CZ: 1, DK: 0.9, ZZ: 0.8, SG: 0.5, LU: 0.3, IS: 0.05, MT: 0.04 };
const DEVICES = { desktop: 58, mobile: 38, tablet: 4 };
const BROWSERS = { desktop: { Chrome: 50, Firefox: 26, Safari: 14, Edge: 10 }, mobile: { "Chrome Mobile": 46, "Mobile Safari": 44, "Firefox Mobile": 7, "Samsung Internet": 3 }, tablet: { "Mobile Safari": 70, "Chrome Mobile": 30 } };
const SYSTEMS = { desktop: { Windows: 52, "Mac OS X": 27, Linux: 21 }, mobile: { Android: 55, iOS: 45 }, tablet: { iOS: 70, Android: 30 } };
const SCREENS = { desktop: { l: 45, xl: 45, m: 10 }, mobile: { xs: 80, s: 20 }, tablet: { m: 100 } };
const LANGUAGES = { DE: "de", AT: "de", CH: "de", FR: "fr", NL: "nl", PL: "pl", BR: "pt", ES: "es", IT: "it", JP: "ja" };
const HOURS = [1, 0.6, 0.4, 0.3, 0.3, 0.5, 1.2, 2.5, 4.4, 5.8, 6.2, 6.0, 5.2, 5.6, 6.1, 6.0, 5.5, 4.9, 4.3, 4.4, 4.7, 4.2, 3.1, 1.9];
const WEEKDAYS = [0.55, 1.05, 1.15, 1.12, 1.08, 0.95, 0.6];

/** Every visit of sixty days, in a few dozen milliseconds. */
function makeVisits(seed, scale) {
  const random = seeded(seed);
  const pick = (weights) => {
    const entries = Object.entries(weights).map(([name, weight]) => [name, Array.isArray(weight) ? weight[1] : weight]);
    let left = random() * entries.reduce((sum, [, weight]) => sum + weight, 0);
    return (entries.find(([, weight]) => (left -= weight) < 0) ?? entries[0])[0];
  };
  const visits = [];
  for (let at = day(FIRST_DAY) - 60; at <= day(TODAY); at += 1) {
    const trend = 0.75 + (at - day(FIRST_DAY)) / 130;
    const launch = at === day("2026-11-10") ? 2.4 : at === day("2026-11-11") ? 1.6 : 1;
    const count = Math.round(420 * scale * trend * launch * WEEKDAYS[new Date(at * DAY_MILLIS).getUTCDay()] * (0.9 + random() * 0.2));
    for (let index = 0; index < count; index += 1) {
      const hour = Number(pick(Object.fromEntries(HOURS.map((weight, hour) => [hour, weight]))));
      if (at === day(TODAY) && hour > 14) continue;
      const source = launch > 1 && random() < 0.5 ? "Hacker News" : pick(SOURCES);
      const device = pick(DEVICES);
      const country = pick(COUNTRIES);
      const bounced = random() < (device === "mobile" ? 0.55 : 0.42);
      const pages = Array.from({ length: bounced ? 1 : 2 + Math.floor(random() ** 2 * 6) }, () => pick(PAGES));
      const events = pages.includes("/pricing") && random() < 0.22 ? ["signup", ...(random() < 0.3 ? ["purchase"] : [])] : random() < 0.05 ? ["download"] : [];
      visits.push({
        day: at, hour, visitor: Math.floor(random() * count * 1.9) + at * 100_000, pages, events, bounced: bounced && events.length === 0,
        seconds: bounced ? Math.floor(random() * 30) : 25 + Math.floor(random() ** 2 * 900),
        page: pages, event: events, goal: events.flatMap((name) => ({ signup: ["Signed up"], purchase: ["Bought"] })[name] ?? []),
        event_property: events.includes("signup") ? [`plan=${random() < 0.7 ? "free" : "pro"}`] : [],
        entry_page: [pages[0]], exit_page: [pages.at(-1)], source: [source], channel: [SOURCES[source][0]], referrer: [source], country: [country], device: [device],
        utm_campaign: CAMPAIGNS[source] ? [CAMPAIGNS[source][Math.floor(random() * CAMPAIGNS[source].length)]] : [],
        browser: [pick(BROWSERS[device])], os: [pick(SYSTEMS[device])], screen: [pick(SCREENS[device])], language: [LANGUAGES[country] ?? "en"],
      });
    }
  }
  return visits;
}

const traffic = new Map();
function visitsOf(site) {
  if (!traffic.has(site)) traffic.set(site, makeVisits(site === "example.org" ? 7 : 11, site === "example.org" ? 1 : 0.2));
  return traffic.get(site);
}

const METRICS = {
  daily_visitors: ["count", "Distinct visitors of a day; over more days the daily average."],
  visits: ["count", "Visits end after 30 minutes of silence, and at midnight."],
  pageviews: ["count", "Page views and screens."],
  events: ["count", "Events with a name."],
  bounce_rate: ["percent", "Visits of one view, without ten seconds of reading and without an event."],
  visit_duration: ["seconds", "From the first to the last event of a visit, on average."],
  conversions: ["count", "Visits that reached the goal."],
  conversion_rate: ["percent", "Of all visits, those that reached the goal."],
};
const DIMENSIONS = ["page", "entry_page", "exit_page", "source", "channel", "referrer", "utm_source", "utm_medium", "utm_campaign", "country", "browser", "os", "device", "screen", "language", "event", "event_property", "goal"];

class Refused extends Error {
  constructor(error, field, message, allowed = []) {
    super(message);
    this.body = { error, field, allowed, message };
  }
}

function measure(metric, visits, days, value, all) {
  switch (metric) {
    case "daily_visitors": return new Set(visits.map((visit) => visit.visitor)).size / days;
    case "visits": case "conversions": return visits.length;
    case "pageviews": return visits.reduce((sum, visit) => sum + (value === undefined ? visit.pages.length : visit.pages.filter((page) => page === value.value || value.dimension !== "page").length), 0);
    case "events": return visits.reduce((sum, visit) => sum + visit.events.length, 0);
    case "bounce_rate": return visits.length ? (100 * visits.filter((visit) => visit.bounced).length) / visits.length : null;
    case "visit_duration": return visits.length ? visits.reduce((sum, visit) => sum + visit.seconds, 0) / visits.length : null;
    case "conversion_rate": return all.length ? (100 * visits.length) / all.length : null;
    default: throw new Refused("unknown_metric", "metrics[0]", "There is no such metric.", Object.keys(METRICS));
  }
}

function spanOf(range) {
  const today = day(TODAY);
  const from = { today, yesterday: today - 1, "7d": today - 6, "30d": today - 29, month: day(`${TODAY.slice(0, 8)}01`), "12months": day("2025-12-01") };
  if (typeof range === "object") return [day(range.from), day(range.to)];
  if (!(range in from)) throw new Refused("wrong_type", "range", "There is no such range.", Object.keys(from));
  return [from[range], range === "yesterday" ? today - 1 : today];
}

const timeOf = { hour: (visit) => `${text(visit.day)}T${String(visit.hour).padStart(2, "0")}`, day: (visit) => text(visit.day), week: (visit) => text(visit.day - ((visit.day + 3) % 7)), month: (visit) => `${text(visit.day).slice(0, 8)}01` };
const group = (visits, keysOf) => {
  const groups = new Map();
  for (const visit of visits) for (const key of new Set(keysOf(visit))) (groups.get(key) ?? groups.set(key, []).get(key)).push(visit);
  return groups;
};
const rounded = (value) => (typeof value === "number" && Number.isInteger(value) ? Math.round(value / K) * K : value);

/** A value is named where k visitors of a day share it; else its visits are with the others. */
function folded(visits, dimension) {
  const cells = group(visits, (visit) => visit[dimension].map((value) => `${visit.day} ${value}`));
  const named = new Map();
  let others = [];
  for (const [key, cell] of cells) {
    const value = key.slice(key.indexOf(" ") + 1);
    if (new Set(cell.map((visit) => visit.visitor)).size < K) others = others.concat(cell);
    else named.set(value, (named.get(value) ?? []).concat(cell));
  }
  if (others.length) named.set(OTHER, others);
  return { named, isFolded: others.length > 0 };
}

function part(question, [from, to], limit) {
  const { metrics, dimensions: [dimension] = [], filters = [], interval } = question;
  const days = to - from + 1;
  const all = visitsOf(question.site).filter((visit) => visit.day >= from && visit.day <= to);
  const visits = all.filter((visit) => filters.every((filter) => visit[filter.dimension].some((value) => filter.is.includes(value))));
  const isRounded = filters.length > 0 && dimension && filters[0].dimension !== dimension && from < day(OPEN_FROM);
  const finish = isRounded ? rounded : (value) => value;
  const figures = (some, over, value) => metrics.map((metric) => finish(measure(metric, some, over, value, visits)));
  let rows = [];
  let isFolded = false;
  if (interval) {
    const daysIn = (some) => new Set(some.map((visit) => visit.day)).size;
    rows = [...group(visits, (visit) => [timeOf[interval](visit)])].sort().map(([time, some]) => [time, ...figures(some, daysIn(some))]);
  } else if (dimension) {
    const { named, ...fold } = folded(visits, dimension);
    isFolded = fold.isFolded;
    rows = [...named].map(([value, some]) => [value, ...figures(some, days, value === OTHER ? undefined : { dimension, value })]).sort((one, other) => other[1] - one[1]);
  }
  return { from: text(from), to: text(to), rows: rows.slice(0, limit), totals: metrics.map((metric) => measure(metric, visits, days, undefined, all)), isFolded, isRounded, hasMore: rows.length > limit };
}

const OF_VISITS = ["visits", "bounce_rate", "visit_duration"];
const OF_EVENTS = ["page", "event", "event_property"];

function refuseWhatIsNotKept({ site, metrics, filters = [], dimensions: [dimension] = [], interval }, [from]) {
  const { ids } = SITES.sites.find(({ id }) => id === site);
  const index = metrics.findIndex((metric) => OF_VISITS.includes(metric));
  const byEvents = OF_EVENTS.includes(dimension) || (from < day(OPEN_FROM) && filters.some((filter) => OF_EVENTS.includes(filter.dimension)));
  if (ids && index >= 0 && byEvents) throw new Refused("not_stored", `metrics[${index}]`, "Visits are not told by what only events have.", ["daily_visitors", "pageviews", "events"]);
  for (const [index, filter] of filters.entries()) if (!DIMENSIONS.includes(filter.dimension)) throw new Refused("unknown_dimension", `filters[${index}].dimension`, "There is no such dimension.", DIMENSIONS);
  if (interval === "hour" && filters.length) throw new Refused("not_stored", "interval", "Hourly figures are of the whole site.", ["day"]);
  if (from >= day(OPEN_FROM)) return;
  if (filters.length > 1) throw new Refused("not_stored", "filters[1]", "Of closed days one filter is kept.");
  const [filter] = filters;
  if (!filter || !dimension || filter.dimension === dimension) return;
  if (!PAIRS.some((pair) => pair.includes(dimension) && pair.includes(filter.dimension))) throw new Refused("not_stored", "dimensions[0]", "These two are not kept together for closed days.", PAIRS.filter((pair) => pair.includes(filter.dimension)).flat());
}

/** The answer to `POST /v1/query`: `{ status, body }`, or `{ status, text }` for a file. */
export function answerQuery(question) {
  try {
    const site = SITES.sites.find(({ id }) => id === question.site);
    if (!site) throw new Refused("unknown_site", "site", "There is no such site.", SITES.sites.map(({ id }) => id));
    const span = spanOf(question.range);
    refuseWhatIsNotKept(question, span);
    const { isFolded, isRounded, hasMore, ...now } = part(question, span, question.limit ?? 100);
    const columns = [
      ...(question.interval ? [{ name: "time", kind: "dimension" }] : (question.dimensions ?? []).map((name) => ({ name, kind: "dimension" }))),
      ...question.metrics.map((name) => ({ name, kind: "metric", unit: METRICS[name][0], counted: METRICS[name][1] })),
    ];
    if (question.format === "csv") return { status: 200, text: [columns.map(({ name }) => name), ...now.rows].map((row) => row.map((cell) => (typeof cell === "string" ? `"${cell.replaceAll('"', '""')}"` : cell)).join(",")).join("\r\n") };
    const before = question.compare === "year" ? [span[0] - 365, span[1] - 365] : [span[0] - (span[1] - span[0] + 1), span[0] - 1];
    const { isFolded: _, isRounded: __, hasMore: ___, ...comparison } = question.compare ? part(question, before, question.limit ?? 100) : {};
    const notes = [isFolded && "folded", isRounded && "rounded_pairs", !site.ids && "without_ids", span[1] >= day(OPEN_FROM) && "open_days"].filter(Boolean);
    return {
      status: 200,
      body: { site: site.id, timezone: site.timezone, ...now, k: K, visits_as_of: NOW - 120_000, columns, comparison: question.compare ? comparison : null, folded: isFolded, next_offset: hasMore ? question.limit : null, notes },
    };
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    return { status: 400, body: error.body };
  }
}

export function answerRealtime(site) {
  const random = seeded(3);
  const minutes = Array.from({ length: 30 }, (_, index) => Math.round(4 + 3 * Math.sin(index / 4) + random() * 4));
  return { site, at: NOW, visitors: 37, pageviews: minutes.reduce((sum, count) => sum + count, 0), minutes };
}

export const answerOutcomes = () => ({ rows: [["accepted", 54_210], ["gpc", 1_912], ["bot_crawler", 1_544], ["dnt", 871], ["bot_headless", 236], ["opted_out", 64], ["ignored_network", 41], ["wrong_host", 12]] });
