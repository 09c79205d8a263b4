// What leaves the collector of closed days: a link, as somebody sees it who was sent it, and files for other tools. The real collector, whose clock is moved
// until days are closed. `SCREENSHOTS=folder node --test closed.test.mjs` keeps pictures.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { DuckDBInstance } from "@duckdb/node-api";
import { seriousFaults } from "./axe.mjs";
import { startCollector } from "./collector.mjs";
import { openBrowser, ordinaryAgent, visit } from "./harness.mjs";
import { picture } from "./office.mjs";

const SECRET = "a secret of the tests";
const exported = await mkdtemp(join(tmpdir(), "headcount-exported-"));
const config = `
[export]
dir = ${JSON.stringify(exported)}

[[site]]
id = "shop.test"
share = true
secret_sha256 = "${createHash("sha256").update(SECRET).digest("hex")}"

[public]
workers = 1
`;
/** 2026-11-16, noon, a Monday. */
const NOON = Date.UTC(2026, 10, 16, 12);
const HOUR = 3_600_000;
const DAYS = 4;

let browser, collector, link;
let sent = 0;
/** A day's people: more each day; most from the United States, some from Germany, and seven from France, too few for a link and enough for an analyst. */
async function day(number) {
  const countries = [["8.8.8", 24 + 6 * number], ["217.5.1", 14], ["80.67.169", 7]];
  const people = countries.flatMap(([network, count]) => Array.from({ length: count }, (_, index) => ({ address: `${network}.${index + 1}`, reads: index % 2 === 0 })));
  const events = people.flatMap(({ address, reads }) => {
    const from = { site: "shop.test", client_ip: address, client_ua: ordinaryAgent };
    const entry = { ...from, kind: "pageview", url: "https://shop.test/", referrer: "https://www.google.com/", entry: true, age_ms: 90_000 };
    return reads ? [entry, { ...from, kind: "pageview", url: "https://shop.test/pricing", referrer: "https://shop.test/", age_ms: 30_000 }] : [entry];
  });
  const headers = { "Content-Type": "application/json", Authorization: `Bearer ${SECRET}` };
  const answer = await fetch(`${collector.visitors}/v1/events`, { method: "POST", headers, body: JSON.stringify(events) });
  assert.equal((await answer.json()).accepted, events.length);
  sent += events.length;
  await collector.until("the events in the table", async () => (await collector.rows("SELECT toUInt32(count()) + (SELECT toUInt32(sum(pageviews)) FROM rollup_closed WHERE dimension = 'all') AS events FROM events"))[0].events === sent);
}

before(async () => {
  collector = await startCollector(config, NOON);
  browser = await openBrowser();
  for (let number = 0; number < DAYS; number++) {
    await collector.setClock(NOON + number * 24 * HOUR);
    await day(number);
  }
  await collector.drained();
  // The last day stays open.
  await collector.setClock(NOON + (DAYS - 2) * 24 * HOUR + 34 * HOUR + 120_000);
  await collector.until("days to be closed", async () => (await collector.rows("SELECT toUInt32(count()) AS days FROM days WHERE what = 'closed'"))[0].days === DAYS - 1);
  // A command does not know on which port the collector of a test was given.
  link = collector.visitors + new URL((await collector.command("share", "add", "--site", "shop.test")).split("\n")[0]).pathname;
});
after(async () => {
  await Promise.all([browser?.close(), collector?.stop()]);
  await rm(exported, { recursive: true, force: true });
});

async function opened(search, body, options = {}) {
  const person = await visit(browser, { colorScheme: "light", viewport: { width: 1280, height: 900 }, ...options });
  const { page, context } = person;
  const asked = [];
  page.on("request", (request) => asked.push(request.url()));
  const settled = () => page.waitForFunction(() => document.querySelector("main .tile") && !document.querySelector('[aria-busy="true"], .ghosts'));
  try {
    await page.goto(link + search);
    await settled();
    await body({
      page,
      settled,
      panel: (title) => page.locator(".panel", { has: page.getByRole("heading", { name: title, exact: true }) }),
      tiles: async () => Object.fromEntries(await page.locator(".tile").evaluateAll((tiles) => tiles.map((tile) => [tile.querySelector(".label").textContent, tile.querySelector(".value").textContent]))),
    });
    assert.deepEqual(await context.cookies(), [], "no cookie");
    for (const url of asked) assert.ok(url.startsWith(collector.visitors), `${url} is asked of nobody else`);
    assert.deepEqual([person.errors, person.lines], [[], []], "no error, and nothing against the policy");
  } finally {
    await person.close();
  }
}
const lines = (panel) => panel.locator("tbody tr").evaluateAll((rows) => rows.map((row) => [...row.children].map((cell) => cell.textContent).join(" ")));

test("a link shows the closed days of its site, folded for everybody", () =>
  opened("", async ({ page, panel, tiles }) => {
    // 45, 51 and 57 people; half of each country's, and one more where they are odd, read on.
    assert.equal((await tiles()).Visits, "153");
    assert.deepEqual(await lines(panel("Countries")), ["United States 30 90", "Other, together – 63"], "fourteen Germans hide seven others");
    await page.locator(".world path").first().waitFor();
    const text = await page.locator("main").textContent();
    assert.ok(!text.includes("France") && /under 10 visitors a day/i.test(text), "seven are too few");
    for (const name of ["Realtime", "Installation"]) assert.equal(await page.getByRole("link", { name }).count(), 0, name);
    assert.deepEqual(await page.getByRole("alert").allTextContents(), []);
    await picture(page, "share");
    assert.deepEqual(await seriousFaults(page), []);
  }));

test("the last day, one filter and its way back have answers", () =>
  opened("?range=today", async ({ page, panel, settled, tiles }) => {
    assert.equal((await tiles()).Visits, "57");
    assert.match(await page.locator(".period").textContent(), /Last day/);
    await panel("Countries").getByRole("button", { name: "United States" }).click();
    await settled();
    assert.equal((await tiles()).Visits, "36");
    assert.deepEqual(await page.getByRole("alert").allTextContents(), []);
    assert.match(await panel("Pages").textContent(), /cut one way at a time/);
    await picture(page, "share-filter");
    await page.goBack();
    await settled();
    assert.equal((await tiles()).Visits, "57");
  }));

test("on a phone it fits", () =>
  opened("", async ({ page }) => {
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), "nothing is wider than the screen");
    await picture(page, "share-phone");
  }, { viewport: { width: 390, height: 844 } }));

test("the first question of the exported README has an answer", async () => {
  await collector.until("the export", async () => (await collector.command("days")).includes("holds every finished figure"));
  const readme = await readFile(join(exported, "README.md"), "utf8");
  const question = /```sql\n(.*?)```/s.exec(readme)[1];
  assert.equal(question.trim().split("\n").length, 2, "two lines");
  // The README speaks of its own folder and of a site called example.org.
  const asked = question.replace("'v1/", `'${exported}/v1/`).replace("example.org", "shop.test");
  const connection = await (await DuckDBInstance.create(":memory:")).connect();
  const rows = async (sql) => (await connection.runAndReadAll(sql)).getRowObjectsJson();
  // Of 45 people 12, 7 and 4 read on, in the three countries; then six and three more each day.
  assert.deepEqual(await rows(asked), [
    { day: "2026-11-16", visitors: "45", visits: "45", pageviews: "68" },
    { day: "2026-11-17", visitors: "51", visits: "51", pageviews: "77" },
    { day: "2026-11-18", visitors: "57", visits: "57", pageviews: "86" },
  ]);
  const all = `read_parquet('${exported}/v1/figures/*/*/*.parquet', hive_partitioning = true)`;
  const countries = await rows(`SELECT value, sum(visitors)::INTEGER AS visitors FROM ${all} WHERE dimension = 'country' AND dimension2 = '' GROUP BY value ORDER BY visitors`);
  assert.deepEqual(countries, [{ value: "FR", visitors: 21 }, { value: "DE", visitors: 42 }, { value: "US", visitors: 90 }], "as an analyst sees them");
  const [{ small }] = await rows(`SELECT count(*)::INTEGER AS small FROM ${all} WHERE dimension NOT IN ('all', 'hour') AND dimension2 = '' AND currency = '' AND visitors < 5`);
  assert.equal(small, 0);
});

test("a link that is revoked shows nothing", async () => {
  const id = (await collector.command("share", "ls")).split("\n")[1].split("\t")[0];
  await collector.command("share", "revoke", id);
  const answer = await fetch(link);
  assert.deepEqual([answer.status, await answer.json()], [404, { error: "not_found" }]);
});
