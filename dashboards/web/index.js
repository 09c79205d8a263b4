// The first page: what /api/overview.json says (overview.schema.json), read again every few seconds while somebody looks.
import { dropped, refused } from "/reasons.js";

const PERIOD_MILLIS = 5_000;
/** A site that has been silent for longer is worth a second look. */
const SILENT_SECONDS = 600;

const byId = (id) => document.getElementById(id);
const numbers = new Intl.NumberFormat("en");
const copyOf = (id) => byId(id).content.firstElementChild.cloneNode(true);

/** Sets the text only where it has changed, so that selections and screen readers are left in peace. */
function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function ago(seconds) {
  const [amount, unit] =
    seconds < 120 ? [seconds, "second"] : seconds < 7_200 ? [Math.floor(seconds / 60), "minute"] : seconds < 172_800 ? [Math.floor(seconds / 3_600), "hour"] : [Math.floor(seconds / 86_400), "day"];
  return `${numbers.format(amount)} ${unit}${amount === 1 ? "" : "s"} ago`;
}

const sum = (pairs) => pairs.reduce((total, [, count]) => total + count, 0);

/** What the installation check says: its class and its words. */
function verdict({ last_event_seconds: seconds, accepted, dropped, refused }) {
  if (seconds !== null) return [seconds > SILENT_SECONDS ? "wait" : "good", `Last event ${ago(seconds)}`];
  if (sum(refused)) return ["bad", "Events arrive, but are refused"];
  if (sum(dropped)) return ["wait", "Events arrive, none is counted yet"];
  return accepted ? ["good", "Events arrive"] : ["wait", "Waiting for the first event"];
}

/** The lines under "Last 10 minutes": class, count, what, why. */
function lines({ accepted, dropped: left, refused: sentBack, masked_paths: masked }) {
  const explained = (kind, words) => ([reason, count]) => [kind, count, ...(words[reason] ?? [reason, ""])];
  const result = [
    [accepted ? "accepted" : "none", accepted, accepted === 1 ? "event counted" : "events counted", accepted ? "Page views, time on pages and custom events." : ""],
    ...sentBack.map(explained("refused", refused)).map(([kind, count, what, why]) => [kind, count, `Refused: ${what}`, why]),
    ...left.map(explained("dropped", dropped)).map(([kind, count, what, why]) => [kind, count, `Not counted: ${what}`, why]),
  ];
  if (masked) result.push(["masked", masked, masked === 1 ? "path was masked" : "paths were masked", "Something in them looked like a person's. If it is public, name the path under path_keep."]);
  return result;
}

function fillRows(list, entries) {
  while (list.children.length > entries.length) list.lastElementChild.remove();
  while (list.children.length < entries.length) list.append(copyOf("row"));
  entries.forEach(([kind, count, what, why], index) => {
    const row = list.children[index];
    row.className = kind;
    write(row.querySelector(".count"), numbers.format(count));
    write(row.querySelector(".what"), what);
    write(row.querySelector(".why"), why);
  });
}

function makeCard(site, index) {
  const card = copyOf("site");
  if (isDemonstration(site)) card.querySelector("details").replaceWith(copyOf("demonstration"));
  else prepareSnippet(card, site);
  const heading = card.querySelector("h2");
  card.dataset.site = site.site;
  heading.id = `site-${index}`;
  card.setAttribute("aria-labelledby", heading.id);
  return card;
}

function prepareSnippet(card, { check }) {
  // Open for whoever has still to paste it; after that it is the reader's.
  card.querySelector("details").open = check.last_event_seconds === null;
  card.querySelector("button").addEventListener("click", () => copySnippet(card));
}

async function copySnippet(card) {
  const button = card.querySelector("button");
  const text = card.querySelector("pre");
  try {
    await navigator.clipboard.writeText(text.textContent);
    write(button, "Copied");
  } catch {
    // No clipboard without HTTPS or localhost: select it for the reader.
    getSelection().selectAllChildren(text);
    write(button, "Selected");
  }
  setTimeout(() => write(button, "Copy"), 2_000);
}

function fillCard(card, { site, timezone, snippet, today, check }) {
  const part = (name) => card.querySelector(`[data-part=${name}]`);
  const [state, words] = verdict(check);
  write(card.querySelector("h2"), site);
  write(part("zone"), timezone);
  card.querySelector(".check").className = `check ${state}`;
  write(card.querySelector(".check"), words);
  for (const name of ["views", "visitors", "events"]) write(part(name), today ? numbers.format(today[name]) : "–");
  fillRows(card.querySelector(".rows"), lines(check));
  if (snippet) write(card.querySelector("pre"), snippet);
}

/** The site of the private listener's own pages, which carry its tag. */
const isDemonstration = ({ snippet }) => snippet === null;
const isOfThisMachine = (site) => isDemonstration(site) || site.site === "localhost";
const isSilent = ({ today, check }) => !(today?.views || check.last_event_seconds !== null || sum(check.dropped) || sum(check.refused));

function showSites(all) {
  const main = byId("sites");
  const first = all.every(isOfThisMachine); // Nobody has added a site yet.
  const sites = first ? all : all.filter((site) => !isDemonstration(site) || !isSilent(site));
  const names = JSON.stringify([first, ...sites.map(({ site }) => site)]);
  if (main.dataset.shown !== names) main.replaceChildren(...sites.map(makeCard), ...(first ? [copyOf("empty")] : []));
  main.dataset.shown = names;
  sites.forEach((site, index) => fillCard(main.children[index], site));
}

function showNotices(notices) {
  const place = byId("notices");
  if (place.dataset.shown === JSON.stringify(notices)) return;
  place.dataset.shown = JSON.stringify(notices);
  place.replaceChildren(
    ...notices.map(([title, text]) => {
      const notice = copyOf("notice");
      write(notice.querySelector("strong"), title);
      write(notice.querySelector("span"), text);
      return notice;
    }),
  );
}

function noticesOf({ proxy_banner: proxy, store_answers: answers, unattributed = [] }) {
  const notices = [];
  if (proxy) notices.push(["Visitors cannot be told apart", proxy]);
  if (!answers) notices.push(["Today's totals cannot be read now", "Events are still taken and kept; they are counted when ClickHouse answers again."]);
  for (const [reason, count] of unattributed) {
    const [what, why] = refused[reason] ?? [reason, ""];
    notices.push([`${what} (${numbers.format(count)} in the last 10 minutes)`, why]);
  }
  return notices;
}

function show(overview) {
  showNotices(noticesOf(overview));
  showSites(overview.sites);
  write(byId("state"), `Version ${overview.version}`);
  write(byId("promise"), promise(overview.close_after_hours));
}

const promise = (hours) =>
  `Headcount keeps no address. It holds a one-day, one-site pseudonym ${
    hours === null ? "and does not erase open days yet." : `until the day is closed, ${hours} hours after its start; then only counts.`
  }`;

async function refresh() {
  try {
    const answer = await fetch("/api/overview.json", { cache: "no-store" });
    if (answer.status === 401) return location.reload(); // The login has ended: the same address asks for the token.
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    show(await answer.json());
  } catch {
    write(byId("state"), "Headcount does not answer. Trying again …");
  }
}

let timer;
function keepFresh() {
  clearInterval(timer);
  if (document.hidden) return;
  refresh();
  timer = setInterval(refresh, PERIOD_MILLIS);
}

document.addEventListener("visibilitychange", keepFresh);
keepFresh();
