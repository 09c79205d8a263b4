// `headcount demo`, and the dashboard on what it has filled: what it says that it sent is what stands there, and no panel is dead. It makes the README's picture.
// DEMO_DAYS and DEMO_EVENTS make more of it; README_PICTURE names the file; SCREENSHOTS=folder keeps the pictures of every form.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { after, before, test } from "node:test";
import { seriousFaults } from "./axe.mjs";
import { startCollector } from "./collector.mjs";
import { openBrowser, visit } from "./harness.mjs";
import { picture } from "./office.mjs";

const days = Number(process.env.DEMO_DAYS || 11);
const events = Number(process.env.DEMO_EVENTS || 12_000);

let browser, collector, ledger, range;
before(async () => {
  collector = await startCollector("", undefined, ["demo", "--days", String(days), "--events", String(events)]);
  ledger = JSON.parse(await readFile(`${collector.data}/demonstration.json`));
  const named = Object.keys(ledger.days).sort();
  range = { from: named[0], to: named.at(-1) };
  browser = await openBrowser();
  await collector.until("the visits of the days that are open", async () => (await ask({ metrics: ["visits"] })).totals[0] === sum("visits"));
});
after(() => Promise.all([browser?.close(), collector?.stop()]));

const sum = (what) => Object.values(ledger.days).reduce((all, day) => all + day[what], 0);
const token = () => new URL(collector.operator).searchParams.get("token");
async function ask(question, path = "/v1/query") {
  const headers = { "Content-Type": "application/json", Authorization: `Bearer ${token()}` };
  const body = question && JSON.stringify({ site: "demo.example", range, ...question });
  const answer = await fetch(`${collector.office}${path}`, { method: question ? "POST" : "GET", headers, body });
  return answer.json();
}

/** Runs `body` with the dashboard of all days, once it has settled. */
async function dashboard(search, body, options = {}) {
  const visitor = await visit(browser, { colorScheme: "light", viewport: { width: 1280, height: 900 }, ...options });
  try {
    const { page } = visitor;
    await page.goto(collector.operator);
    await page.goto(`${collector.office}/?site=demo.example${search}`);
    const settled = () => page.waitForFunction(() => document.querySelector("main .tile, main .big") && !document.querySelector('[aria-busy="true"], .ghosts'));
    await settled();
    await body({ page, settled, panel: (title) => page.locator(".panel", { has: page.getByRole("heading", { name: title, exact: true }) }) });
    assert.deepEqual(visitor.errors, [], "no error on the page");
  } finally {
    await visitor.close();
  }
}
const all = () => `&range=${range.from}..${range.to}`;

test("what the demonstration says it sent is what the figures say", async () => {
  assert.ok(ledger.finished && Math.abs(ledger.sent / events - 1) < 0.1, `${ledger.sent} events`);
  const { totals } = await ask({ metrics: ["daily_visitors", "visits", "pageviews", "events"] });
  assert.deepEqual(totals.slice(1), [sum("visits"), sum("pageviews"), sum("events")]);
  assert.ok(Math.abs(totals[0] / (sum("visitors") / Object.keys(ledger.days).length) - 1) < 0.02, `${totals[0]} daily visitors`);
  const { rows } = await ask({ metrics: ["value"] });
  const cents = {};
  for (const day of Object.values(ledger.days)) for (const [currency, paid] of Object.entries(day.cents)) cents[currency] = (cents[currency] ?? 0) + paid;
  assert.deepEqual(Object.fromEntries(rows.map(([currency, value]) => [currency, Math.round(value * 100)])), cents);
  // A misspelt site's events are nobody's: they are in no site's figures.
  const { unknown_site: nobodys, ...refused } = ledger.refused;
  const outcomes = await ask(undefined, `/v1/outcomes?site=demo.example&from=${range.from}&to=${range.to}`);
  assert.deepEqual(Object.fromEntries(outcomes.rows.filter(([reason]) => reason !== "pseudonymous")), { ...ledger.dropped, ...refused });
  for (const [day, { pageviews }] of Object.entries(ledger.days)) {
    const { totals } = await ask({ metrics: ["pageviews"], range: { from: day, to: day } });
    assert.deepEqual(totals, [pageviews], day);
  }
});

test("its days were closed and their keys destroyed as in life", async () => {
  const listed = (await collector.command("days")).trim().split("\n").slice(1).map((line) => line.split("\t"));
  const states = Object.fromEntries(listed.filter(([, zone]) => zone === "Europe/Berlin").map(([day, , state]) => [day, state]));
  const names = Object.keys(ledger.days).sort();
  assert.ok(names.slice(0, -2).every((day) => states[day] === "closed"), JSON.stringify(states));
  assert.equal(states[names.at(-1)], "open");
  const lives = (await collector.command("keys", "log")).split("\n").filter((line) => line.includes("Europe/Berlin"));
  const of = (what) => lives.filter((line) => line.includes(what)).length;
  assert.ok(of("\tbirth\t") === days && of("\tdeath\t") === days - 1, lives.join("\n"));
});

test("another demonstration in the same folder is not begun, and nothing is put into a folder that is not one's own", async () => {
  await assert.rejects(collector.command("demo", "--data-dir", new URL("..", import.meta.url).pathname, "--fill-only"), /fills a folder of its own/);
  assert.match(await collector.command("demo", "--fill-only"), /is full already/);
});

test("every panel of the dashboard is alive", () =>
  dashboard(all(), async ({ page, panel, settled }) => {
    for (const tile of await page.locator(".tile .value").allTextContents()) assert.match(tile, /[1-9]/);
    const alive = async (title) => assert.ok((await panel(title).locator("tbody tr, .funnel .step").count()) >= 2, `${title}: ${await panel(title).textContent()}`);
    const titles = await page.locator(".panel h2").allTextContents();
    assert.ok(["Pages", "Sources", "Countries", "Devices", "Actions", "Not counted"].every((title) => titles.includes(title)), titles.join());
    for (const title of titles.filter((title) => title !== "Not counted")) {
      const tabs = await panel(title).getByRole("tab").allTextContents();
      for (const tab of tabs) {
        await panel(title).getByRole("tab", { name: tab, exact: true }).click();
        await settled();
        await alive(title);
      }
      if (tabs.length === 0) await alive(title);
    }
    assert.match(await panel("Not counted").textContent(), /Do Not Track|crawler/i);
    assert.ok((await page.locator(".world path[data-shade]").count()) > 5, "the map has colours");
  }));

test("the picture of the README is taken", () =>
  dashboard(days > 40 ? "" : all(), async ({ page }) => {
    await page.locator(".world path").first().waitFor();
    const clip = { x: 0, y: 0, width: 1280, height: 1580 };
    const taken = await page.screenshot({ path: process.env.README_PICTURE, clip, fullPage: true });
    assert.ok(taken.length < 300_000, `${taken.length} bytes`);
    await picture(page, "demo");
  }));

for (const [name, options] of Object.entries({ dark: { colorScheme: "dark" }, phone: { viewport: { width: 390, height: 844 }, isMobile: true } })) {
  test(`it can be looked at: ${name}`, () =>
    dashboard(days > 40 ? "" : all(), async ({ page }) => {
      const width = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
      assert.ok(width <= 0, "nothing beside the page");
      assert.deepEqual(await seriousFaults(page), []);
      await picture(page, `demo-${name}`);
    }, options));
}
