// The tracking script's behaviour, in a real Chromium: each test states which events arrive, and that no others do.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { after, before, test } from "node:test";
import { leaveAlone, openBrowser, openSite, page, visit } from "./harness.mjs";

let browser;
before(async () => (browser = await openBrowser()));
after(() => browser.close());

/** Runs `body` with a site and a visitor. `options.page` are the parts of every page, or a function of its address. */
async function scene({ page: parts = {}, headers, status, ...visitor }, body) {
  const render = (url) => page(typeof parts === "function" ? parts(url) : parts);
  const site = await openSite({ render, headers, status });
  const visitorOf = await visit(browser, visitor);
  try {
    await body({ site, ...visitorOf });
    assert.deepEqual(visitorOf.errors, [], "the page met no error");
  } finally {
    await visitorOf.close();
    await site.close();
  }
}

const brief = ({ kind, name, url }) => [kind, name, url && new URL(url).pathname + new URL(url).search].filter(Boolean).join(" ");
const views = (events) => events.filter((event) => event.kind === "pageview").map(brief);

test("a first page view says exactly what the collector looks at", () =>
  scene({}, async ({ site, page }) => {
    await page.goto(`${site.origin}/articles/1?utm_source=letter&secret=7#part`);
    const [event] = await site.settled(page);
    assert.deepEqual(event, {
      site: "localhost",
      kind: "pageview",
      url: `${site.origin}/articles/1?utm_source=letter&secret=7`,
      referrer: "",
      width: 1280,
      lang: "de",
      entry: 1,
    });
    const [request] = site.requests;
    assert.equal(request.type, "text/plain;charset=UTF-8", "no preflight");
    assert.equal(request.path, "/stats/e", "next to the script, base path kept");
    assert.equal(request.headers.cookie, undefined);
  }));

test("history changes of the path are views, anything else is not", () =>
  scene({}, async ({ site, page }) => {
    await page.goto(`${site.origin}/a`);
    await page.evaluate(() => {
      history.pushState({}, "", "/b");
      history.pushState({}, "", "/b?page=2");
      history.replaceState({}, "", "/b#part");
      history.replaceState({}, "", "/c?x=1");
      location.hash = "elsewhere";
    });
    await page.evaluate(() => new Promise((moved) => (addEventListener("popstate", moved), history.go(-2))));
    const events = await site.settled(page);
    assert.deepEqual(views(events), ["pageview /a", "pageview /b", "pageview /c?x=1", "pageview /b"]);
    const later = events.filter((event) => event.kind === "pageview").slice(1);
    assert.ok(later.every((event) => event.entry === 0 && event.referrer === site.origin), "later views come from the site itself");
  }));

test("the routes of a hash router are sent as paths, and anchors are not routes", () =>
  scene({ page: { attributes: "data-hash" } }, async ({ site, page }) => {
    await page.goto(`${site.origin}/app/index.html?utm_source=x#/users/1?tab=a`);
    for (const hash of ["#!/about", "#part", "#/", "#access_token=secret"]) await page.evaluate((to) => (location.hash = to), hash);
    assert.deepEqual(views(await site.settled(page)), [
      "pageview /app/users/1?utm_source=x&tab=a",
      "pageview /app/about?utm_source=x",
      "pageview /app/index.html?utm_source=x",
      "pageview /app/?utm_source=x",
      "pageview /app/index.html?utm_source=x",
    ]);
  }));

test("without data-hash a fragment never counts", () =>
  scene({}, async ({ site, page }) => {
    await page.goto(`${site.origin}/#/one`);
    await page.evaluate(() => (location.hash = "/two"));
    assert.deepEqual(views(await site.settled(page)), ["pageview /"]);
  }));

test("a page restored from the back/forward cache is a new view, not an entry", () =>
  scene({}, async ({ site, page }) => {
    await page.goto(`${site.origin}/a`);
    await page.evaluate(() => (window.alive = true));
    await page.goto(`${site.origin}/b`);
    await page.evaluate(() => history.back()).catch(() => {});
    const events = await site.collected(5);
    assert.deepEqual(events.map(brief).sort(), ["engagement /a", "engagement /b", "pageview /a", "pageview /a", "pageview /b"]);
    const restored = events.filter((event) => event.kind === "pageview").at(-1);
    assert.deepEqual([brief(restored), restored.entry, restored.referrer], ["pageview /a", 0, site.origin]);
    assert.equal(await page.evaluate(() => window.alive), true, "it was restored, not loaded again");
  }));

test("nothing is sent while a page is prerendered, and one view once it is shown", async () => {
  const rules = `<script type="speculationrules">{"prerender":[{"source":"list","urls":["/next"],"eagerness":"immediate"}]}</script>`;
  // The prerendered page tells when it runs; the first page asks for /running, which is answered after that, and then moves on.
  const told = `<script>if (document.prerendering) fetch("/mark", { method: "POST" })</script>`;
  const go = `<script>fetch("/running").then(() => (location.href = "/next"))</script>`;
  const site = await openSite({
    async render({ pathname }) {
      if (pathname === "/running") await site.marked();
      return page({ before: pathname === "/first" ? go + rules : told });
    },
  });
  const end = await leaveAlone(`${site.origin}/first`);
  try {
    const events = await site.collected(3);
    assert.deepEqual(events.map(brief).sort(), ["engagement /first", "pageview /first", "pageview /next"]);
    assert.equal(site.requests.filter((request) => request.path === "/mark").length, 1, "it was prerendered");
    const order = site.requests.map((request) => (request.path === "/mark" ? "prerendered" : brief(JSON.parse(request.body))));
    assert.ok(order.indexOf("prerendered") < order.indexOf("pageview /next"));
  } finally {
    await end();
    await site.close();
  }
});

test("a hidden tab makes one engagement event, and after a return only the new time is added", async () => {
  // The page is hidden by a tab that closes itself, then left. It keeps time on its own, and says what it measured.
  const act = `<script>
    if (location.pathname === "/other") addEventListener("load", () => setTimeout(close, 1000));
    else addEventListener("DOMContentLoaded", () => {
      let since = performance.now();
      addEventListener("visibilitychange", () => {
        if (document.hidden) return navigator.sendBeacon("/mark", performance.now() - since);
        since = performance.now();
        setTimeout(() => (location.href = "about:blank"), 1500);
      });
      setTimeout(() => open("/other"), 1500);
    });
  </script>`;
  const site = await openSite({ render: () => page({ before: act, content: '<div style="height:50px"></div>' }) });
  const end = await leaveAlone(`${site.origin}/main`);
  try {
    await site.marked(2);
    const events = (await site.collected(5)).filter((event) => event.url.endsWith("/main"));
    assert.deepEqual(events.map(brief), ["pageview /main", "engagement /main", "engagement /main"]);
    const measured = site.requests.filter((request) => request.path === "/mark").map((request) => Number(request.body));
    for (const [index, { engaged_ms, scroll_pct }] of events.slice(1).entries()) {
      assert.ok(Math.abs(engaged_ms - measured[index]) < 150, `${engaged_ms} ms were told, ${measured[index]} measured`);
      assert.equal(scroll_pct, 100);
    }
  } finally {
    await end();
    await site.close();
  }
});

// Chromium's tabs stay visible under a debugger: these tests change what the page reads, the one above does not.
const setHidden = (page, hidden) =>
  page.evaluate((value) => {
    Object.defineProperty(document, "hidden", { get: () => value, configurable: true });
    document.dispatchEvent(new Event("visibilitychange", { bubbles: true }));
  }, hidden);

/** From now on the page's time moves only when the test says so. */
const stopClock = async (page) => {
  await page.clock.install({ time: 0 });
  await page.clock.pauseAt(1000);
};

test("visible time adds up exactly, short flicks wait, and the depth is the deepest seen", () =>
  scene({ page: { content: '<div style="height:7200px"></div>' } }, async ({ site, page }) => {
    await stopClock(page);
    await page.goto(`${site.origin}/long`);
    await page.clock.runFor(4000);
    await page.evaluate(() => new Promise((done) => (addEventListener("scroll", done, { once: true }), scrollTo(0, 2880))));
    await page.clock.runFor(1000);
    await page.evaluate(() => new Promise((done) => (addEventListener("scroll", done, { once: true }), scrollTo(0, 0))));
    await setHidden(page, true);
    await page.clock.runFor(60_000);
    await setHidden(page, false);
    await page.clock.runFor(400);
    await setHidden(page, true);
    await page.clock.runFor(60_000);
    await setHidden(page, false);
    await page.clock.runFor(700);
    await setHidden(page, true);
    const engagement = (await site.settled(page)).filter((event) => event.kind === "engagement");
    assert.deepEqual(
      engagement.map(({ engaged_ms, scroll_pct }) => [engaged_ms, scroll_pct]),
      [
        [5000, 50],
        [1100, 50],
      ],
    );
  }));

test("a page that loads hidden is counted when it is seen", () =>
  scene({}, async ({ site, page, context }) => {
    await context.addInitScript(() => Object.defineProperty(document, "hidden", { get: () => true, configurable: true }));
    await page.goto(`${site.origin}/later`);
    await page.evaluate(() => history.replaceState({}, "", "/later/en"));
    assert.deepEqual(await site.settled(page), []);
    await setHidden(page, false);
    assert.deepEqual((await site.settled(page)).map(brief), ["pageview /later/en"]);
  }));

test("a single-page move leaves the page before: its time goes to its own address", () =>
  scene({}, async ({ site, page }) => {
    await stopClock(page);
    await page.goto(`${site.origin}/a`);
    await page.clock.runFor(3000);
    await page.evaluate(() => history.pushState({}, "", "/b"));
    const events = await site.settled(page);
    assert.deepEqual(events.map(brief), ["pageview /a", "engagement /a", "pageview /b"]);
    assert.equal(events[1].engaged_ms, 3000);
  }));

test("custom events carry name, properties and money, and nothing else of what they are given", () =>
  scene({}, async ({ site, page }) => {
    await page.goto(`${site.origin}/shop`);
    await page.evaluate(() => {
      headcount("plain");
      headcount("sold", { props: { plan: "pro" }, value: 9.5, currency: "EUR", url: "http://evil", site: "other" });
    });
    const [, plain, sold] = await site.settled(page);
    const base = { site: "localhost", kind: "event", url: `${site.origin}/shop`, referrer: "", width: 1280, lang: "de" };
    assert.deepEqual(plain, { ...base, name: "plain" });
    assert.deepEqual(sold, { ...base, name: "sold", props: { plan: "pro" }, value: 9.5, currency: "EUR" });
  }));

/** The stub as the script's README gives it. */
const documentation = await readFile(new URL("../../collector/snippet/README.md", import.meta.url), "utf8");
const [stub] = documentation.match(/<script>[^]*?<\/script>/);

test("calls made through the stub before the script is there are sent after the view", () =>
  scene({ page: { before: `${stub}<script>headcount("early", { props: { a: "b" } })</script>` } }, async ({ site, page }) => {
    await page.goto(`${site.origin}/`);
    assert.deepEqual((await site.settled(page)).map(brief), ["pageview /", "event early /"]);
  }));

test("bad calls and a broken surrounding never throw into the page", () =>
  scene({}, async ({ site, page, context }) => {
    await context.addInitScript(() => {
      Object.defineProperty(window, "localStorage", { get: () => { throw new DOMException("denied", "SecurityError"); } });
    });
    await page.goto(`${site.origin}/`);
    await page.evaluate(() => {
      const circle = {};
      circle.circle = circle;
      headcount("null", null);
      headcount("circle", { props: circle });
      headcount.consent(Symbol("x"));
      headcount.consent(undefined);
      headcount.optIn();
      headcount.optOut();
      headcount("after");
      if (headcount.optedOut() !== true) throw new Error("opting out works without a storage");
    });
    assert.deepEqual((await site.settled(page)).map(brief), ["pageview /"]);
  }));

test("with data-consent nothing is sent before the answer, and everything held after a grant", () =>
  scene({ page: { attributes: 'data-consent="required"' } }, async ({ site, page }) => {
    await page.goto(`${site.origin}/held`);
    await page.evaluate(() => headcount("early"));
    assert.deepEqual(await site.settled(page), []);
    await page.evaluate(() => headcount.consent("granted"));
    await page.evaluate(() => headcount.consent("granted"));
    const events = await site.settled(page);
    assert.deepEqual(events.map(brief), ["pageview /held", "event early /held"]);
    assert.ok(events.every((event) => event.consent === "granted"));
    assert.equal(events[0].entry, 1);
    await page.evaluate(() => {
      headcount.consent("denied");
      headcount("late");
      history.pushState({}, "", "/next");
    });
    assert.equal((await site.settled(page)).length, 2, "a withdrawn consent ends it");
  }));

for (const answer of ["denied", "Granted", ""]) {
  test(`with data-consent the answer ${JSON.stringify(answer)} sends nothing`, () =>
    scene({ page: { attributes: 'data-consent="required"' } }, async ({ site, page }) => {
      await page.goto(`${site.origin}/`);
      await page.evaluate((given) => (headcount("early"), headcount.consent(given)), answer);
      await page.goto("about:blank");
      await page.goto(`${site.origin}/`);
      assert.deepEqual(await site.settled(page), []);
    }));
}

test("a consent given through the stub counts", () =>
  scene({ page: { attributes: 'data-consent="required"', before: `${stub}<script>headcount.consent("granted")</script>` } }, async ({ site, page }) => {
    await page.goto(`${site.origin}/`);
    const [event] = await site.settled(page);
    assert.equal(event.consent, "granted");
  }));

test("opting out silences the site until opting in, and is the only thing ever stored", () =>
  scene({}, async ({ site, page, context }) => {
    const stored = () => page.evaluate(async () => ({ ...localStorage, ...sessionStorage, cookie: document.cookie, databases: (await indexedDB.databases()).length }));
    await page.goto(`${site.origin}/a`);
    await page.evaluate(() => headcount("x"));
    assert.deepEqual(await stored(), { cookie: "", databases: 0 });
    assert.equal(await page.evaluate(() => headcount.optedOut()), false);
    await page.evaluate(() => headcount.optOut());
    assert.deepEqual(await stored(), { headcount: "1", cookie: "", databases: 0 });
    await page.evaluate(() => headcount("y"));
    await page.goto(`${site.origin}/b`);
    assert.equal(await page.evaluate(() => headcount.optedOut()), true);
    assert.deepEqual((await site.settled(page)).map(brief), ["pageview /a", "event x /a"]);
    await page.evaluate(() => headcount.optIn());
    assert.deepEqual(await stored(), { cookie: "", databases: 0 });
    assert.deepEqual((await site.settled(page)).map(brief), ["pageview /a", "event x /a", "pageview /b"]);
    assert.deepEqual(await context.cookies(), []);
  }));

for (const [doNotTrack, sent] of [["1", 0], ["yes", 0], [true, 0], ["0", 1], ["unspecified", 1], [null, 1]]) {
  test(`navigator.doNotTrack ${JSON.stringify(doNotTrack)} ${sent ? "is no objection" : "keeps the script silent"}`, () =>
    scene({ doNotTrack }, async ({ site, page }) => {
      await page.goto(`${site.origin}/`);
      assert.equal((await site.settled(page)).length, sent);
    }));
}

test("window.doNotTrack is heard though the navigator says nothing", () =>
  scene({ doNotTrack: "unspecified", page: { before: '<script>window.doNotTrack = "1"</script>' } }, async ({ site, page }) => {
    await page.goto(`${site.origin}/`);
    await page.evaluate(() => headcount("x"));
    assert.deepEqual(await site.settled(page), []);
  }));

for (const [attributes, sent] of [["", 0], ['data-gpc="ignore"', 0], ['data-gpc="count"', 1]]) {
  test(`Global Privacy Control with ${attributes || "no attribute"} sends ${sent}`, () =>
    scene({ globalPrivacyControl: true, page: { attributes } }, async ({ site, page }) => {
      await page.goto(`${site.origin}/`);
      const events = await site.settled(page);
      assert.equal(events.length, sent);
      assert.ok(events.every((event) => event.gpc === 1), "and says so");
    }));
}

test("only a view from another host, neither reloaded nor gone back to, is an entry", () =>
  scene({ headers: { "Cache-Control": "no-store" } }, async ({ site, page }) => {
    await page.goto(`${site.origin}/own`);
    await page.reload();
    await page.evaluate(() => (location.href = "/inside"));
    await page.waitForURL("**/inside");
    await page.goto(`${site.elsewhere}/other`);
    await page.evaluate((to) => (location.href = to), `${site.origin}/landing?full=path`);
    await page.waitForURL("**/landing**");
    await site.settled(page);
    const seen = site.events.filter((event) => event.kind === "pageview").map((event) => [brief(event), event.entry, event.referrer]);
    assert.deepEqual(seen, [
      ["pageview /own", 1, ""],
      ["pageview /own", 0, ""],
      ["pageview /inside", 0, site.origin],
      ["pageview /other", 1, ""],
      ["pageview /landing?full=path", 1, site.elsewhere],
    ]);
  }));

test("going back without the cache is no entry", () =>
  scene({ headers: { "Cache-Control": "no-store" } }, async ({ site, page }) => {
    await page.goto(`${site.origin}/a`);
    await page.evaluate(() => navigator.locks.request("keeps the page out of the cache", () => new Promise(() => {})) && 0);
    await page.goto(`${site.origin}/b`);
    await page.goBack();
    const last = (await site.settled(page)).filter((event) => event.kind === "pageview").at(-1);
    assert.deepEqual([brief(last), last.entry], ["pageview /a", 0]);
  }));

for (const [what, broken] of [
  ["refuses", "Navigator.prototype.sendBeacon = () => false"],
  ["is missing", "delete Navigator.prototype.sendBeacon"],
]) {
  test(`where sendBeacon ${what}, fetch takes over as plain text`, () =>
    scene({ page: { before: `<script>${broken}</script>` } }, async ({ site, page }) => {
      await page.goto(`${site.origin}/`);
      await page.goto(`${site.origin}/next`);
      assert.deepEqual((await site.settled(page)).map(brief), ["pageview /", "engagement /", "pageview /next"]);
      assert.equal(site.requests[0].type, "text/plain;charset=UTF-8");
    }));
}

for (const [what, parts, path] of [
  ["the folder of the script", { source: "/deep/er/h.js?v=2" }, "/deep/er/e"],
  ["the root", { source: "/h.js" }, "/e"],
  ["data-api", { attributes: 'data-api="/other/path"' }, "/other/path"],
]) {
  test(`the endpoint comes from ${what}`, () =>
    scene({ page: parts }, async ({ site, page }) => {
      await page.goto(`${site.origin}/`);
      await site.settled(page);
      assert.equal(site.requests[0].path, path);
    }));
}

for (const kind of ["async", "", "defer"]) {
  test(`a collector on another host is reached from a ${kind || "plain"} script`, async () => {
    const collector = await openSite({ render: () => "" });
    const site = await openSite({ render: () => `<!doctype html><script ${kind} src="${collector.elsewhere}/stats/h.js" data-site="localhost"></script>` });
    const visitor = await visit(browser);
    try {
      await visitor.page.goto(`${site.origin}/far`);
      assert.deepEqual((await collector.collected(1)).map(brief), ["pageview /far"]);
      assert.equal(site.requests.length, 0);
    } finally {
      await visitor.close();
      await collector.close();
      await site.close();
    }
  });
}

test("a strict Content-Security-Policy is no obstacle", () =>
  scene({ headers: { "Content-Security-Policy": "default-src 'none'; script-src 'self'; connect-src 'self'; require-trusted-types-for 'script'" } }, async ({ site, page, lines }) => {
    await page.goto(`${site.origin}/`);
    assert.deepEqual((await site.settled(page)).map(brief), ["pageview /"]);
    assert.deepEqual(lines.filter((line) => !line.includes("inline style")), []);
  }));

test("a second tag on the page does not count twice", () =>
  scene({ page: { before: '<script src="/stats/h.js" data-site="localhost"></script>' } }, async ({ site, page }) => {
    await page.goto(`${site.origin}/`);
    await page.evaluate(() => history.pushState({}, "", "/b"));
    assert.deepEqual(views(await site.settled(page)), ["pageview /", "pageview /b"]);
  }));

test("an address over the collector's bound loses its query, not its view", () =>
  scene({}, async ({ site, page }) => {
    await page.goto(`${site.origin}/a?q=${"x".repeat(3000)}`);
    assert.deepEqual(views(await site.settled(page)), ["pageview /a"]);
  }));

for (const [what, options, expected] of [
  ["sent", {}, /^headcount: sent: 204 \{"site":"localhost","kind":"pageview"/],
  ["refused by the collector", { status: 400 }, /^headcount: sent: 400/],
  ["GPC", { globalPrivacyControl: true }, /^headcount: not sent: this browser says GPC/],
  ["DNT", { doNotTrack: "1" }, /^headcount: not sent: this browser says DNT/],
  ["no consent yet", { page: { attributes: 'data-consent="required"' } }, /^headcount: not sent: waiting/],
  ["a blocked endpoint", { page: { attributes: 'data-api="http://localhost:1/e"' } }, /^headcount: not sent: blocked/],
]) {
  test(`?headcount=debug prints one line: ${what}`, () =>
    scene(options, async ({ site, page, lines }) => {
      await page.goto(`${site.origin}/?headcount=debug`);
      await page.waitForFunction(() => true);
      await site.settled(page);
      const own = () => lines.filter((line) => line.startsWith("headcount:"));
      while (own().length === 0) await page.waitForEvent("console");
      assert.equal(own().length, 1);
      assert.match(own()[0], expected);
    }));
}
