// The whole way in one go: pages in a real Chromium, the collector with its embedded engine, and what stands in its tables afterwards.
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { after, before, test } from "node:test";
import { startCollector } from "./collector.mjs";
import { openBrowser, ordinaryAgent, visit } from "./harness.mjs";

const config = `
proxy = "nobody"

[[site]]
id = "shop.test"

[[site]]
id = "asks.test"
consent = { mode = "consent" }

[[site]]
id = "own-host.test"
hosts = ["cdn.test"]

[public]
base_path = "/stats"
script_path = "/assets/count.js"
event_path = "/in/event"
workers = 1
`;

let browser, headless, collector, website;
before(async () => {
  [browser, headless, collector] = await Promise.all([openBrowser({ userAgent: ordinaryAgent }), openBrowser(), startCollector(config)]);
  website = await serve();
});
after(async () => {
  website?.close();
  await Promise.all([browser?.close(), headless?.close(), collector?.stop()]);
});

/** A website under every host of `.test`: each page carries the tag of the site that its path begins with. */
async function serve() {
  const server = createServer((request, response) => {
    const { pathname, searchParams } = new URL(request.url, "http://any");
    const [, site, kind] = pathname.split("/");
    const tag = `<script defer src="${collector.visitors}/assets/count.js" data-site="${site}" ${kind === "asks" ? 'data-consent="required"' : ""}></script>`;
    const pixel = `<noscript><img src="${collector.visitors}/in/event.gif?${searchParams.get("pixel")}" alt=""></noscript>`;
    response.writeHead(200, { "Content-Type": "text/html; charset=utf-8" });
    response.end(`<!doctype html><html lang="de"><title>A page</title>${kind === "pixel" ? pixel : tag}<body style="height:50px;margin:0">`);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  return {
    at: (host, path) => `http://${host}:${port}${path}`,
    close: () => (server.closeAllConnections(), server.close()),
  };
}

/** Runs `body` with a visitor of their own; `sent` are the requests that carry events, as the browser sees them. */
async function visitor(options, body, from = browser) {
  const person = await visit(from, options);
  const sent = [];
  person.context.on("request", (request) => new URL(request.url()).pathname.startsWith("/stats/in/") && sent.push(request));
  try {
    await body({ ...person, sent });
    assert.deepEqual(person.errors, [], "the page met no error");
  } finally {
    await person.close();
  }
}

const COLUMNS = `kind, name, host, page, source, channel, referrer, utm_source, country, browser, browser_major, os, device, screen, language,
  props, value, currency, engaged_ms, scroll_pct, entry, visitor`;

/** What the check of the first page says of a site, once `ready` finds it true. */
const checkOf = (site, ready) =>
  collector.until(`the check of ${site}`, async () => {
    const { check } = (await collector.overview()).sites.find((one) => one.site === site);
    return ready(check) && check;
  });

test("what a visitor does becomes exactly these rows, and exactly these cells", () =>
  visitor({}, async ({ page }) => {
    await page.goto(website.at("www.shop.test", "/shop.test/home?utm_source=letter&secret=7#part"));
    // What is below a second of reading waits for the next engagement; this visitor reads for longer.
    await page.waitForFunction((seen) => performance.now() > seen + 1_000, await page.evaluate(() => performance.now()));
    await page.evaluate(() => history.pushState({}, "", "/shop.test/cart"));
    await page.evaluate(() => headcount("purchase", { props: { plan: "pro", seats: 3 }, value: 49.5, currency: "EUR" }));
    // To another of the site's hosts, and back: that page was hidden meanwhile, and comes out of the back/forward cache.
    await page.evaluate((url) => ((window.alive = true), (location.href = url)), website.at("blog.shop.test", "/shop.test/article"));
    await page.waitForURL(/article/);
    await page.waitForFunction(() => document.readyState === "complete");
    await page.evaluate(() => history.back()).catch(() => {});
    await page.waitForURL(/cart/, { waitUntil: "commit" });
    await page.waitForFunction(() => window.alive);

    const rows = await collector.rowsOf("shop.test", 8, COLUMNS);
    const who = new Set(rows.map((row) => row.visitor));
    assert.equal(who.size, 1, "one visitor, one pseudonym");
    assert.notEqual(String([...who][0]), "0");

    const always = { country: "ZZ", browser: "Chrome", browser_major: 140, os: "Linux", device: "desktop", screen: "l", language: "de" };
    for (const row of rows) for (const [column, value] of Object.entries(always)) assert.equal(row[column], value, column);
    const brief = (row) =>
      [row.kind, row.name, row.host, row.page, row.channel, row.source, row.referrer, row.utm_source, row.entry ? "entry" : ""].join(" ").replace(/ +/g, " ").trim();
    assert.deepEqual(rows.map(brief).sort(), [
      "engagement blog.shop.test /shop.test/article internal www.shop.test",
      "engagement www.shop.test /shop.test/cart internal www.shop.test",
      "engagement www.shop.test /shop.test/home referral letter letter",
      "event purchase www.shop.test /shop.test/cart internal www.shop.test",
      "pageview blog.shop.test /shop.test/article internal www.shop.test",
      "pageview www.shop.test /shop.test/cart internal www.shop.test",
      "pageview www.shop.test /shop.test/cart internal www.shop.test",
      "pageview www.shop.test /shop.test/home referral letter letter entry",
    ]);
    const purchase = rows.find((row) => row.name === "purchase");
    assert.deepEqual([purchase.props, purchase.value, purchase.currency], [{ plan: "pro", seats: "3" }, 49.5, "EUR"]);
    const engagements = rows.filter((row) => row.kind === "engagement");
    assert.ok(engagements.every((row) => row.scroll_pct === 100 && row.engaged_ms < 30_000));
    assert.ok(engagements.find((row) => row.page === "/shop.test/home").engaged_ms >= 1_000);

    const cells = await collector.rows(`SELECT dimension, value, sum(pageviews) AS views, sum(events) AS events, sum(engagements) AS engagements,
      sum(entries) AS entries, uniqCombined64Merge(14)(visitors) AS visitors, sum(amount) AS amount
      FROM rollup_open WHERE site = 'shop.test' GROUP BY dimension, value`);
    const found = Object.fromEntries(
      cells.filter(({ dimension }) => dimension !== "hour").map(({ dimension, value, ...cell }) => [`${dimension} ${value}`.trim(), Object.values(cell).map(Number)]),
    );
    const whole = [4, 1, 3, 1, 1, 49.5];
    assert.deepEqual(found, {
      all: whole,
      "page /shop.test/home": [1, 0, 1, 1, 1, 0],
      "page /shop.test/cart": [2, 1, 1, 0, 1, 49.5],
      "page /shop.test/article": [1, 0, 1, 0, 1, 0],
      "source letter": [1, 0, 1, 1, 1, 0],
      "utm_source letter": [1, 0, 1, 1, 1, 0],
      "channel referral": [1, 0, 1, 1, 1, 0],
      "channel internal": [3, 1, 2, 0, 1, 49.5],
      "referrer www.shop.test": [3, 1, 2, 0, 1, 49.5],
      "event purchase": [0, 1, 0, 0, 1, 49.5],
      "country ZZ": whole,
      "browser Chrome": whole,
      "os Linux": whole,
      "device desktop": whole,
      "screen l": whole,
      "language de": whole,
    });
    const hours = cells.filter(({ dimension }) => dimension === "hour");
    assert.equal(hours.reduce((sum, { views }) => sum + Number(views), 0), 4);
  }));

for (const [what, options, act, from] of [
  ["DNT", { doNotTrack: "1" }, () => headcount("clicked")],
  ["GPC", { globalPrivacyControl: true }, () => headcount("clicked")],
  ["no answer to the question for consent", {}, () => headcount("clicked"), "/asks.test/asks"],
  ["a no to it", {}, () => (headcount.consent("denied"), headcount("clicked")), "/asks.test/asks"],
  ["an opt-out", {}, () => (headcount.optOut(), headcount("clicked")), "/asks.test/asks"],
]) {
  test(`nothing is sent under ${what}`, () =>
    visitor(options, async ({ page, sent }) => {
      const path = from ?? "/own-host.test/quiet";
      await page.goto(website.at(path.split("/")[1], path));
      await page.evaluate(act);
      await page.evaluate(() => history.pushState({}, "", location.pathname + "/next"));
      await page.goto("about:blank");
      assert.deepEqual(sent.map((request) => request.postData()), []);
    }));
}

test("a yes sends the view that was held, and what was answered comes with it", () =>
  visitor({}, async ({ page, sent }) => {
    await page.goto(website.at("asks.test", "/asks.test/asks"));
    await page.evaluate(() => headcount("early"));
    assert.equal(sent.length, 0);
    await page.evaluate(() => headcount.consent("granted"));
    const rows = await collector.rowsOf("asks.test", 2, COLUMNS);
    assert.deepEqual(rows.map((row) => `${row.kind} ${row.name} ${row.page}`).sort(), ["event early /asks.test/asks", "pageview  /asks.test/asks"]);
    assert.ok(rows.every((row) => String(row.visitor) !== "0"));
  }));

test("a signal in the request alone is obeyed too, and counted by its reason", () =>
  visitor({ extraHTTPHeaders: { "Sec-GPC": "1" } }, async ({ page, sent }) => {
    await page.goto(website.at("own-host.test", "/own-host.test/said-by-the-header"));
    const { dropped } = await checkOf("own-host.test", (check) => check.dropped.length > 0);
    assert.equal(sent.length, 1);
    assert.deepEqual(dropped, [["gpc", 1]]);
  }));

test("an automated browser is no visitor", () =>
  visitor(
    { userAgent: null },
    async ({ page, sent }) => {
      await page.goto(website.at("own-host.test", "/own-host.test/robot"));
      const { dropped } = await checkOf("own-host.test", (check) => check.dropped.some(([reason]) => reason === "bot_headless"));
      assert.equal(sent.length, 1);
      assert.deepEqual(dropped.find(([reason]) => reason === "bot_headless"), ["bot_headless", 1]);
    },
    headless,
  ));

test("a page on a host that is not the site's is refused, and the check says so", () =>
  visitor({}, async ({ page, sent }) => {
    await page.goto(website.at("elsewhere.test", "/own-host.test/copied"));
    const { refused } = await checkOf("own-host.test", (check) => check.refused.length > 0);
    assert.deepEqual(refused, [["wrong_host", 1]]);
    assert.equal((await sent[0].response()).status(), 400);
  }));

test("the pixel counts where there is no JavaScript", () =>
  visitor({ javaScriptEnabled: false }, async ({ page }) => {
    const view = new URLSearchParams({ site: "own-host.test", url: "https://www.cdn.test/plain?secret=7", referrer: "https://www.google.de/", "p.plan": "team" });
    await page.goto(website.at("own-host.test", `/own-host.test/pixel?pixel=${encodeURIComponent(view)}`));
    const [row] = await collector.rowsOf("own-host.test", 1, COLUMNS);
    assert.deepEqual(
      [row.kind, row.host, row.page, row.source, row.channel, row.referrer, row.props],
      ["pageview", "www.cdn.test", "/plain", "Google", "search", "www.google.de", { plan: "team" }],
    );
    // It is the only row of this site: what was dropped and refused above has left none.
  }));

test("what is public can be read from any origin, and is not sent twice", () =>
  visitor({}, async ({ page, context }) => {
    await page.goto(website.at("elsewhere.test", "/nobody.test/reader"));
    const script = `${collector.visitors}/assets/count.js`;
    const privacy = `${collector.visitors}/privacy.json`;
    const gpc = new URL("/.well-known/gpc.json", collector.visitors).href;
    const [text, statement, support] = await page.evaluate(
      async ([script, ...json]) => [await (await fetch(script)).text(), ...(await Promise.all(json.map(async (url) => (await fetch(url)).json())))],
      [script, privacy, gpc],
    );
    assert.match(text, /"\.\.\/in\/event"/, "the script knows its endpoint");
    assert.equal(statement.address.stored, false);
    assert.equal(support.gpc, true);
    for (const [url, type, age] of [[script, /^text\/javascript/, 86_400], [privacy, /^application\/json/, 3_600], [gpc, /^application\/json/, 86_400]]) {
      const first = await context.request.get(url);
      const headers = first.headers();
      assert.match(headers["content-type"], type);
      assert.equal(headers["cache-control"], `public, max-age=${age}`);
      assert.equal(headers["access-control-allow-origin"], "*");
      assert.equal(headers["x-content-type-options"], "nosniff");
      assert.equal(headers["set-cookie"], undefined);
      const again = await context.request.get(url, { headers: { "If-None-Match": headers.etag } });
      assert.deepEqual([again.status(), (await again.body()).length], [304, 0], url);
    }
  }));

test("a proxy that is not trusted raises the banner", () =>
  visitor({}, async ({ page }) => {
    assert.equal((await collector.overview()).proxy_banner, null, "not before it is there");
    const headers = { "X-Forwarded-For": "192.0.2.7", "User-Agent": ordinaryAgent };
    const body = JSON.stringify({ site: "nobody.test", kind: "pageview", url: "https://nobody.test/" });
    assert.equal((await fetch(`${collector.visitors}/in/event`, { method: "POST", headers, body })).status, 400);
    await page.goto(collector.operator);
    await page.goto(`${collector.office}/?view=installation`);
    await page.locator(".notice", { hasText: "Visitors cannot be told apart" }).waitFor();
    await page.locator(".notice", { hasText: "The site's id is not configured" }).waitFor();
    assert.ok(!(await page.content()).includes("192.0.2.7"), "it names no address");
  }));

test("the demonstration works beside sites of one's own, and under paths of one's own", () =>
  visitor({}, async ({ page, lines }) => {
    await page.goto(`${collector.office}/demo`);
    await page.getByText('"kind": "pageview"').waitFor();
    assert.deepEqual(await collector.rowsOf("demo", 1, "kind, page"), [{ kind: "pageview", page: "/demo" }]);
    assert.deepEqual(lines, []);
  }));
