// The dashboard on the real thing: events through the public listener, the embedded engine, the API, and what an analyst then sees.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { after, before, test } from "node:test";
import { seriousFaults } from "./axe.mjs";
import { startCollector } from "./collector.mjs";
import { openBrowser, ordinaryAgent, visit } from "./harness.mjs";
import { picture } from "./office.mjs";

const SECRET = "a secret of the tests";
/** A zone where it is about noon now, so that no midnight passes while the tests run. Its sign is the other way round (POSIX). */
const hoursToNoon = 12 - new Date().getUTCHours();
const timezone = `Etc/GMT${hoursToNoon > 0 ? "-" : "+"}${Math.abs(hoursToNoon)}`;
const config = `
[[site]]
id = "shop.test"
timezone = "${timezone}"
secret_sha256 = "${createHash("sha256").update(SECRET).digest("hex")}"
properties = ["plan"]

[[site.goal]]
name = "Signed up"
event = "signup"
value = "4.50 EUR"

[[site.goal]]
name = "Lost"
page = "/nowhere"

[[site.funnel]]
name = "Joining"
steps = [{ page = "/" }, { page = "/pricing" }, { event = "signup" }, { page = "/nowhere" }]

[[site]]
id = "anonymous.test"
timezone = "${timezone}"
consent = { mode = "exempt", ceiling = "anonymous" }

[public]
workers = 1
`;

/** Twelve people: eight in the United States, of whom six read on; four in Germany, too few to be named. */
const people = Array.from({ length: 12 }, (_, index) => ({ address: index < 8 ? `8.8.8.${index + 1}` : `217.5.1.${index + 1}`, reads: index < 6 }));
const events = people.flatMap(({ address, reads }) => {
  const from = { site: "shop.test", client_ip: address, client_ua: ordinaryAgent };
  const entry = { ...from, kind: "pageview", url: "https://shop.test/", referrer: "https://www.google.com/", entry: true, age_ms: 90_000 };
  return reads ? [entry, { ...from, kind: "pageview", url: "https://shop.test/pricing", referrer: "https://shop.test/", age_ms: 30_000 }, { ...from, kind: "event", name: "signup", props: { plan: "small", note: "is not asked for" }, url: "https://shop.test/pricing", age_ms: 10_000 }] : [entry];
});
const refused = Array.from({ length: 3 }, () => ({ site: "shop.test", kind: "pageview", url: "https://shop.test/", gpc: true }));

let browser, collector;
before(async () => {
  collector = await startCollector(config);
  browser = await openBrowser();
  const headers = { "Content-Type": "application/json", Authorization: `Bearer ${SECRET}` };
  const answer = await fetch(`${collector.visitors}/v1/events`, { method: "POST", headers, body: JSON.stringify([...events, ...refused]) });
  assert.equal((await answer.json()).accepted, events.length);
  await collector.until("the visits of the day", async () => (await ask({ metrics: ["visits"], range: "today" })).totals[0] === people.length);
});
after(() => Promise.all([browser?.close(), collector?.stop()]));

const token = () => new URL(collector.operator).searchParams.get("token");
async function ask(question) {
  const headers = { "Content-Type": "application/json", Authorization: `Bearer ${token()}` };
  const answer = await fetch(`${collector.office}/v1/query`, { method: "POST", headers, body: JSON.stringify({ site: "shop.test", ...question }) });
  return answer.json();
}

/** Runs `body` with the dashboard of an operator, logged in by the printed link. */
async function analyst(search, body, options = {}) {
  const person = await visit(browser, { colorScheme: "light", viewport: { width: 1280, height: 900 }, ...options });
  try {
    const { page } = person;
    await page.goto(collector.operator);
    await page.goto(`${collector.office}/?site=shop.test${search}`);
    const settled = () => page.waitForFunction(() => document.querySelector("main .tile, main .big") && !document.querySelector('[aria-busy="true"], .ghosts'));
    await settled();
    await body({
      page,
      settled,
      panel: (title) => page.locator(".panel", { has: page.getByRole("heading", { name: title, exact: true }) }),
      tiles: async () => Object.fromEntries(await page.locator(".tile").evaluateAll((tiles) => tiles.map((tile) => [tile.querySelector(".label").textContent, tile.querySelector(".value").textContent]))),
    });
    assert.deepEqual(person.errors, [], "no error on the page");
    assert.deepEqual(person.lines, [], "nothing against the policy");
  } finally {
    await person.close();
  }
}
const lines = (panel) => panel.locator("tbody tr").evaluateAll((rows) => rows.map((row) => [...row.children].map((cell) => cell.textContent).join(" ")));

test("what arrived stands on the page", () =>
  analyst("&range=today", async ({ page, panel, tiles }) => {
    assert.deepEqual(await tiles(), { "Daily visitors": "12", Visits: "12", "Page views": "18", "Bounce rate": "50%", "Visit duration": "40s" });
    assert.match(await page.locator(".below").textContent(), /Visits as of \d\d:\d\d/);
    assert.deepEqual(await lines(panel("Pages")), ["/ 12 12", "/pricing 6 6"]);
    assert.deepEqual(await lines(panel("Countries")), ["Other, together 12 12"], "four people in Germany are found by nobody, not even by what is left of the others");
    assert.match(await panel("Countries").locator("footer").textContent(), /Values under 5 visitors a day are in “Other”/);
    assert.deepEqual(await lines(panel("Actions")), ["Signed up 6 50%"]);
    assert.match(await panel("Not counted").textContent(), /Global Privacy Control 3/);
    await page.locator(".world path").first().waitFor();
    await picture(page, "live");
    assert.deepEqual(await seriousFaults(page), []);
  }));

/** Clicks a tab of a panel. */
const tab = (panel, name) => panel.getByRole("tab", { name, exact: true }).click();

for (const [name, options] of [["light", {}], ["dark", { colorScheme: "dark" }], ["phone", { viewport: { width: 390, height: 844 } }]]) {
  test(`goals, funnels and properties stand on the page: ${name}`, () =>
    analyst("&range=today", async ({ page, panel, settled }) => {
      const actions = panel("Actions");
      assert.deepEqual(await actions.getByRole("tab").allTextContents(), ["Goals", "Funnels", "Events", "Properties"]);
      assert.match(await actions.locator("footer").textContent(), /Counts from the day it was declared/);
      await picture(page, `goals-${name}`);
      await tab(actions, "Funnels");
      await settled();
      const steps = await actions.locator(".funnel li").evaluateAll((steps) => steps.map((step) => [...step.children].map((child) => child.textContent).join(" | ")));
      assert.deepEqual(steps, ["/ | 12 visits, 100% of all", "/pricing | −50% | 6 visits, 50% of all", "signup | none lost | 6 visits, 50% of all", "/nowhere | under 5, or none"]);
      await picture(page, `funnels-${name}`);
      assert.deepEqual(await seriousFaults(page), []);
      await tab(actions, "Events");
      await settled();
      assert.match((await lines(actions)).join(), /^signup 6 6/);
      await tab(actions, "Properties");
      await settled();
      assert.deepEqual(await lines(actions), ["plan=small 6 6"]);
      await picture(page, `properties-${name}`);
      assert.deepEqual(await seriousFaults(page), []);
    }, options));
}

test("a goal is a filter of whole visits", () =>
  analyst("&range=today", async ({ page, panel, settled, tiles }) => {
    await panel("Actions").getByRole("button", { name: "Signed up" }).click();
    await settled();
    assert.equal((await tiles()).Visits, "6");
    assert.equal(new URL(page.url()).searchParams.get("is.goal"), "Signed up");
    assert.deepEqual(await lines(panel("Pages")), ["/ 6 6", "/pricing 6 6"]);
    assert.deepEqual(await page.getByRole("alert").allTextContents(), []);
  }));

test("where nothing is declared, the page says how to", () =>
  analyst("&site=anonymous.test&range=today", async ({ page, panel, settled }) => {
    await page.goto(`${collector.office}/?site=anonymous.test&range=today`);
    await settled();
    const actions = panel("Actions");
    assert.deepEqual(await actions.getByRole("tab").allTextContents(), ["Events", "Goals", "Properties"], "without ids there are no visits to follow");
    await tab(actions, "Goals");
    assert.match(await actions.locator(".declare").textContent(), /has declared no goals yet.*\[\[site\.goal\]\]/s);
    await picture(page, "goals-none");
    assert.deepEqual(await seriousFaults(page), []);
  }));

test("every tab of every panel has an answer", () =>
  analyst("&range=7d", async ({ page, settled }) => {
    for (const tab of await page.getByRole("tab").all()) {
      await tab.click();
      await settled();
      assert.deepEqual(await page.getByRole("alert").allTextContents(), [], await tab.textContent());
    }
  }));

test("every range and every comparison has an answer", () =>
  analyst("", async ({ page, settled }) => {
    for (const range of ["today", "yesterday", "7d", "30d", "month", "12months", "2026-01-01..2026-06-30"]) {
      for (const compare of ["previous", "year", "none"]) {
        await page.goto(`${collector.office}/?site=shop.test&range=${range}&compare=${compare}`);
        await settled();
        assert.deepEqual(await page.getByRole("alert").allTextContents(), [], `${range} ${compare}`);
      }
    }
  }));

test("one filter, and another on an open day, give what the API gives", () =>
  analyst("&range=today", async ({ page, panel, settled, tiles }) => {
    await panel("Pages").getByRole("button", { name: "/pricing" }).click();
    await settled();
    assert.equal((await tiles()).Visits, "6");
    await panel("Devices").getByRole("button", { name: "Desktop" }).click();
    await settled();
    assert.equal(new URL(page.url()).search, "?site=shop.test&range=today&is.page=%2Fpricing&is.device=desktop");
    assert.equal((await tiles()).Visits, "6");
    assert.deepEqual(await page.getByRole("alert").allTextContents(), []);
    await page.goBack();
    await page.goBack();
    await settled();
    assert.equal((await tiles()).Visits, "12");
  }));

test("who was sent a link with filters is there after the login", async () => {
  const person = await visit(browser, { colorScheme: "light" });
  try {
    await person.page.goto(`${collector.office}/?site=shop.test&range=today&is.page=%2Fpricing`);
    await person.page.getByLabel("Token").fill("wrong");
    await person.page.getByRole("button", { name: "Open" }).click();
    await person.page.getByLabel("Token").fill(token());
    await person.page.getByRole("button", { name: "Open" }).click();
    await person.page.locator(".filters").getByText("/pricing").waitFor();
    assert.equal(new URL(person.page.url()).search, "?site=shop.test&range=today&is.page=%2Fpricing");
  } finally {
    await person.close();
  }
});

test("a file is what ClickHouse writes", () =>
  analyst("&range=today", async ({ page, panel }) => {
    const [download] = await Promise.all([page.waitForEvent("download"), panel("Pages").getByRole("button", { name: "Save as CSV" }).click()]);
    assert.equal(await readFile(await download.path(), "utf8"), '"page","daily_visitors","pageviews"\n"/",12,12\n"/pricing",6,6\n');
  }));

test("the last thirty minutes are those of the site", () =>
  analyst("&view=realtime", async ({ page }) => {
    await page.waitForFunction(() => document.querySelector(".big dd")?.textContent === "12");
    assert.deepEqual(await page.locator(".big dd").allTextContents(), ["12", "18"]);
    assert.equal(await page.locator(".minutes li").count(), 30);
  }));

test("an analyst's token shows its site alone, and nothing of the installation", async () => {
  const said = await collector.command("token", "add", "--role", "analyst", "--site", "shop.test");
  const word = /[0-9a-f]{64}/.exec(said)[0];
  const person = await visit(browser, {});
  await person.page.goto(`${collector.office}/?token=${word}`);
  await person.page.locator(".tile .value").first().waitFor();
  assert.equal(await person.page.locator(".site-name").textContent(), "shop.test");
  assert.equal(await person.page.getByRole("link", { name: "Installation" }).count(), 0);
  assert.deepEqual(person.lines, []);
  await person.close();
});

test("the overview can be used before its figures are there", () =>
  analyst("", async ({ page, settled }) => {
    let go;
    const held = new Promise((resolve) => (go = resolve));
    await page.route("**/v1/query", async (route) => (await held, route.continue()));
    const times = [];
    for (let round = 0; round < 3; round += 1) {
      await page.reload();
      await page.locator(".choice").click();
      times.push(Math.round(await page.evaluate(() => performance.now())));
    }
    await page.getByRole("button", { name: /^Last 7 days/ }).click();
    assert.equal(new URL(page.url()).searchParams.get("range"), "7d");
    console.log(`# usable after ${times} ms on this machine, in this build`);
    go();
    await settled();
  }));
