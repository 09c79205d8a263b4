// What every browser test needs: a real Chromium, driven or left alone, and a server that stands in for a website and its collector.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { chromium } from "playwright-core";

/** The one that CHROMIUM names, else the first that is installed. */
const executable = process.env.CHROMIUM || installed(["chromium", "chromium-browser", "google-chrome"]);

function installed(names) {
  const folders = process.env.PATH.split(delimiter);
  const found = names.flatMap((name) => folders.map((folder) => join(folder, name))).find(existsSync);
  if (!found) throw new Error("the browser tests need Chromium: install it, or name one with CHROMIUM=...");
  return found;
}

const switches = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--accept-lang=de-DE",
  // Sites of tests: every host under .test is this machine (RFC 6761, 6.2).
  "--host-resolver-rules=MAP *.test 127.0.0.1",
];

/** A browser as people use it. Chromium's own agent names itself headless here, which a collector refuses. */
export const ordinaryAgent = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36";

/** How long a test waits for what must come, in milliseconds. */
const patience = 30_000;

/** The POST requests of each page, in the order in which it sent them: on several connections a later one may arrive first. */
const sentBy = new WeakMap();

/**
 * Starts one Chromium for a file of tests; `visit` gives each test a fresh profile in it. `userAgent` is the browser's own: what it sends while a page
 * goes has that one, whatever the page was told.
 */
export function openBrowser({ userAgent } = {}) {
  const args = userAgent ? [...switches, `--user-agent=${userAgent}`] : switches;
  // Playwright switches the back/forward cache off unless told otherwise.
  return chromium.launch({ executablePath: executable, headless: true, args, ignoreDefaultArgs: ["--disable-back-forward-cache"] });
}

/**
 * A visitor with a fresh profile: `{ context, page, lines, errors, close }`.
 *
 * `userAgent: null` keeps the browser's own. `doNotTrack` (text) and `globalPrivacyControl` (true) set what page and server see of them.
 * `lines` collects what pages print, `errors` what they throw.
 */
export async function visit(browser, { userAgent = ordinaryAgent, doNotTrack, globalPrivacyControl, ...options } = {}) {
  const extraHTTPHeaders = { ...options.extraHTTPHeaders };
  if (doNotTrack === "1") extraHTTPHeaders.DNT = "1";
  if (globalPrivacyControl) extraHTTPHeaders["Sec-GPC"] = "1";
  const context = await browser.newContext({ ...options, ...(userAgent && { userAgent }), locale: "de-DE", extraHTTPHeaders });
  await context.addInitScript(
    (signals) => {
      for (const [name, value] of Object.entries(signals)) Object.defineProperty(navigator, name, { get: () => value });
    },
    JSON.parse(JSON.stringify({ doNotTrack, globalPrivacyControl })),
  );
  const page = await context.newPage();
  const lines = [];
  const errors = [];
  const sent = new Set();
  sentBy.set(page, sent);
  page.on("request", (request) => request.method() === "POST" && sent.add(request));
  page.on("requestfailed", (request) => sent.delete(request));
  page.on("console", (message) => lines.push(message.text()));
  page.on("pageerror", (error) => errors.push(error.message));
  return { context, page, lines, errors, close: () => context.close() };
}

/** A browser and one visitor in it, for a test that needs no more. */
export async function launch(options) {
  const browser = await openBrowser();
  const visitor = await visit(browser, options);
  return { ...visitor, browser, close: () => browser.close() };
}

/**
 * Opens `url` in a Chromium that nobody drives: a debugger keeps every tab visible and forbids prerendering. The page acts by its own scripts.
 * Returns the function that ends it.
 */
export async function leaveAlone(url) {
  const profile = await mkdtemp(join(tmpdir(), "headcount-chromium-"));
  const args = ["--headless", ...switches, "--disable-popup-blocking", `--user-agent=${ordinaryAgent}`, `--user-data-dir=${profile}`, url];
  const child = spawn(executable, args, { stdio: "ignore", detached: true });
  const gone = once(child, "exit");
  return async () => {
    process.kill(-child.pid);
    await gone;
    await rm(profile, { recursive: true, force: true, maxRetries: 5 });
  };
}

/**
 * A website on a free port of this machine, with a collector under `/stats/`. `render(url)` makes a page's HTML, or a promise of it, `headers` go with each page.
 *
 * Every POST is recorded in `requests` as `{ path, type, body, headers }` and answered with `status`; `events` are the parsed bodies.
 */
export async function openSite({ render, headers = {}, status = 204 }) {
  const script = await readFile(new URL("../../collector/snippet/h.min.js", import.meta.url));
  const requests = [];
  const waiting = new Set();
  const server = createServer(async (request, response) => {
    const url = new URL(request.url, "http://site");
    if (request.method === "POST") {
      const chunks = [];
      for await (const chunk of request) chunks.push(chunk);
      requests.push({ path: url.pathname, type: request.headers["content-type"], body: Buffer.concat(chunks).toString(), headers: request.headers });
      for (const check of waiting) check();
      response.writeHead(status, { "Access-Control-Allow-Origin": "*" }).end();
    } else if (url.pathname.endsWith("/h.js")) {
      response.writeHead(200, { "Content-Type": "text/javascript" }).end(script);
    } else {
      response.writeHead(200, { "Content-Type": "text/html; charset=utf-8", ...headers }).end(await render(url));
    }
  });
  server.listen(0);
  await once(server, "listening");
  const { port } = server.address();

  const until = (condition, what) =>
    new Promise((resolve, reject) => {
      const check = () => condition() && (clearTimeout(timer), waiting.delete(check), resolve());
      const timer = setTimeout(() => (waiting.delete(check), reject(new Error(`${what} did not come; there is ${JSON.stringify(requests, null, 1)}`))), patience);
      waiting.add(check);
      check();
    });

  const isMark = (request) => request.path === "/mark";
  const site = {
    port,
    host: `localhost:${port}`,
    origin: `http://localhost:${port}`,
    /** The same server under another host's name. */
    elsewhere: `http://127.0.0.1:${port}`,
    requests,
    get events() {
      return requests.filter((request) => !isMark(request)).map((request) => JSON.parse(request.body));
    },
    /** Waits for `count` events and gives them. */
    async collected(count) {
      await until(() => site.events.length >= count, `event ${count}`);
      return site.events;
    },
    /** Waits for the page's own `POST /mark`, `count` of them. */
    marked: (count = 1) => until(() => requests.filter(isMark).length >= count, `mark ${count}`),
    /** Waits until everything that `page` has sent so far is here, and gives it in the order of its sending: the browser tells of it before it tells of a mark. */
    async settled(page) {
      await page.evaluate(() => fetch("/mark", { method: "POST" }));
      const bodies = [...sentBy.get(page)].filter((request) => !isMark({ path: new URL(request.url()).pathname })).map((request) => request.postData());
      const count = (all, body) => all.filter((one) => one === body).length;
      const isHere = (body) => count(requests.map((request) => request.body), body) >= count(bodies, body);
      await until(() => bodies.every(isHere), "what the page has sent");
      // Of those that are alike the first that came is the first that was sent. What the browser did not tell of, as it left the page meanwhile, stays in its place.
      const left = [...bodies];
      const placed = site.events.map((event) => {
        const place = left.indexOf(JSON.stringify(event));
        if (place >= 0) left[place] = undefined;
        return { event, place };
      });
      const told = placed.filter(({ place }) => place >= 0).sort((one, other) => one.place - other.place);
      return placed.map(({ event, place }) => (place < 0 ? event : told.shift().event));
    },
    close: () => {
      server.closeAllConnections();
      return new Promise((done) => server.close(done));
    },
  };
  return site;
}

/** A page with the script tag, its attributes and content. */
export function page({ attributes = "", before = "", content = "", source = "/stats/h.js" } = {}) {
  return `<!doctype html><html lang="de"><title>A page</title>${before}<script defer src="${source}" data-site="localhost" ${attributes}></script><body style="margin:0">${content}`;
}
