// The dashboard in a real Chromium, over a stand-in for the collector that has sixty days of traffic: what an analyst does with the figures.
// `SCREENSHOTS=folder node --test dashboard.test.mjs` keeps pictures.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { after, before, test } from "node:test";
import { NOW, answerQuery } from "./analyst.mjs";
import { openBrowser } from "./harness.mjs";
import { office, picture } from "./office.mjs";

let browser;
before(async () => (browser = await openBrowser()));
after(() => browser.close());

/** Runs `body` with the dashboard opened at `search`, on the day that the stand-in's traffic ends with. `prepare` may change the state before. */
async function dashboard(search, body, { prepare = () => {}, path = "/", ...options } = {}) {
  await office(browser, { viewport: { width: 1280, height: 900 }, ...options }, async (visited) => {
    const { page, state, origin } = visited;
    await prepare(visited);
    await page.clock.setFixedTime(NOW);
    await page.goto(`${origin}${path}${search}`);
    const settled = () => page.waitForFunction(() => document.querySelector("main") && !document.querySelector('[aria-busy="true"], .ghosts'));
    await settled();
    await body({
      ...visited,
      settled,
      panel: (title) => page.locator(".panel", { has: page.getByRole("heading", { name: title, exact: true }) }),
      tile: (name) => page.locator(".tile", { hasText: name }),
      parameters: () => Object.fromEntries(new URL(page.url()).searchParams),
      /** The questions for figures since the last time. */
      asked: () => state.asked.splice(0).filter(([path]) => path === "/v1/query").map(([, question]) => question),
    });
  });
}

const figures = { site: "example.org", metrics: ["daily_visitors", "visits", "pageviews", "bounce_rate", "visit_duration"] };
const rowsOf = async (panel) => (await panel.locator("tbody tr").all()).length;
const value = (panel, name) => panel.locator(".value", { hasText: new RegExp(`^${name}$`) });

test("the overview shows what was asked for, with what it is compared to and as of when", () =>
  dashboard("", async ({ page, tile, panel }) => {
    const { body } = answerQuery({ ...figures, range: "30d", compare: "previous", interval: "day" });
    assert.equal(await tile("Visits").locator(".value").textContent(), new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 }).format(body.totals[1]));
    assert.equal(await tile("Daily visitors").locator(".value").textContent(), String(Math.round(body.totals[0])), "the daily average, not a sum");
    assert.match(await tile("Bounce rate").textContent(), /^Bounce rate43%/);
    assert.match(await tile("Visits").locator(".change").textContent(), /↑up by 3\d% was 9,\d{3}/);
    assert.match(await page.locator(".below").textContent(), /Visits as of 14:40.*Days in Europe\/Berlin.*daily average/);
    assert.deepEqual(await page.locator(".panel h2").allTextContents(), ["Pages", "Sources", "Countries", "Devices", "Actions", "Not counted"]);
    assert.match(await panel("Pages").locator("tbody tr").first().textContent(), /^\/\d/);
    assert.match(await page.locator(".pulse").textContent(), /^37 visitors in 30 minutes/);
    assert.equal(await page.title(), "example.org · Headcount");
    await page.locator(".world path").first().waitFor();
    await picture(page, "overview");
  }));

test("the first load is small, and usable within a second", () =>
  office(browser, {}, async ({ page, origin, state }) => {
    const { gzipSync } = await import("node:zlib");
    const loaded = [];
    page.on("response", async (response) => {
      if (!response.url().includes("/v1/")) loaded.push(gzipSync(await response.body().catch(() => Buffer.alloc(0)), { level: 6 }).length);
    });
    answerQuery({ ...figures, range: "30d" }); // The traffic is made once; the collector has its own.
    await page.goto(origin);
    await page.locator(".values button").first().waitFor();
    const millis = await page.evaluate(() => performance.now());
    await page.locator(".world path").first().waitFor();
    const bytes = loaded.reduce((sum, size) => sum + size, 0);
    assert.ok(bytes > 20_000 && bytes <= 150_000, `${bytes} bytes`);
    assert.ok(state.asked.length >= 8, "everything was asked for");
    console.log(`# first load ${bytes} bytes compressed, usable after ${Math.round(millis)} ms on this machine`);
  }));

test("a tile is chosen for the chart", () =>
  dashboard("", async ({ page, tile, parameters }) => {
    await tile("Page views").click();
    assert.equal(await tile("Page views").getAttribute("aria-pressed"), "true");
    assert.equal(parameters().metric, "pageviews");
    await page.getByRole("application", { name: /^Page views over time/ }).waitFor();
  }));

test("the chart's points are read by pointer and by keyboard, and stand in a table", () =>
  dashboard("?range=2026-11-16..2026-11-22&metric=visits", async ({ page }) => {
    const { body } = answerQuery({ ...figures, range: { from: "2026-11-16", to: "2026-11-22" }, interval: "day" });
    const chart = page.locator(".chart");
    const { x, width, y } = await chart.boundingBox();
    await page.mouse.move(x + width - 12, y + 100);
    assert.match(await page.locator(".tip").textContent(), new RegExp(`^Sun,? 22 NovVisits ${body.rows[6][2]}`));
    await chart.focus();
    await page.keyboard.press("Home");
    assert.match(await page.locator(".tip").textContent(), new RegExp(`^Mon,? 16 NovVisits ${body.rows[0][2]}Mon,? 9 Nov`));
    await page.keyboard.press("ArrowRight");
    assert.match(await page.locator(".tip").textContent(), /^Tue,? 17 Nov/);
    await page.keyboard.press("Escape");
    assert.ok(await page.locator(".tip").isHidden());
    await page.getByRole("button", { name: "Show the chart as a table" }).click();
    assert.deepEqual(await page.locator(".plain tbody tr").first().locator("td").first().textContent(), String(body.rows[0][2]));
    assert.equal(await page.locator(".plain tbody tr").count(), 7);
  }));

test("a click filters everything; the address says so, can be sent on, and the back button takes it back", () =>
  dashboard("", async ({ page, panel, tile, settled, parameters, asked, context, origin }) => {
    const before = await tile("Visits").locator(".value").textContent();
    asked();
    await value(panel("Countries"), "Germany").click();
    await settled();
    assert.deepEqual(parameters(), { "is.country": "DE" });
    const questions = asked();
    assert.ok(questions.length >= 4 && questions.every(({ filters }) => JSON.stringify(filters) === '[{"dimension":"country","is":["DE"]}]'));
    const after = await tile("Visits").locator(".value").textContent();
    assert.notEqual(after, before);
    assert.match(await page.locator(".filters").textContent(), /Country Germany.*One filter at a time/);
    await picture(page, "filtered");

    const other = await context.newPage();
    await other.clock.setFixedTime(NOW);
    await other.goto(`${origin}/?is.country=DE`);
    await other.locator(".tile .was").first().waitFor();
    assert.equal(await other.locator(".tile", { hasText: "Visits" }).locator(".value").textContent(), after, "whoever gets the address sees the same");
    await other.close();

    await page.goBack();
    await settled();
    assert.deepEqual(parameters(), {});
    assert.equal(await tile("Visits").locator(".value").textContent(), before);
    await page.goForward();
    await page.getByRole("button", { name: "Remove the filter Country Germany" }).click();
    await settled();
    assert.equal(await tile("Visits").locator(".value").textContent(), before);
  }));

test("on closed days a second filter is disabled and says why; on open days it filters", async () => {
  await dashboard("?is.country=DE", async ({ page, panel, parameters, asked }) => {
    asked();
    const search = panel("Sources").getByRole("button", { name: /^Search\./ });
    assert.equal(await search.getAttribute("aria-disabled"), "true");
    assert.match(await search.getAttribute("title"), /closed: of them one filter is kept, not two/);
    await search.click({ force: true });
    assert.deepEqual([parameters(), asked()], [{ "is.country": "DE" }, []], "nothing has changed and nothing was asked");
    assert.match(await page.locator(".filters").textContent(), /One filter at a time: some of these days are closed/);
    await value(panel("Countries"), "Germany").click();
    assert.deepEqual(parameters(), {}, "the filter itself is taken out by the same click");
  });
  await dashboard("?range=today&is.country=DE", async ({ panel, settled, parameters, asked, tile }) => {
    const before = Number(await tile("Visits").locator(".value").textContent());
    asked();
    await value(panel("Sources"), "Search").click();
    await settled();
    assert.deepEqual(parameters(), { range: "today", "is.country": "DE", "is.channel": "search" });
    assert.ok(asked().every(({ filters }) => filters.length === 2));
    assert.ok(Number(await tile("Visits").locator(".value").textContent()) < before);
  });
});

test("what was not kept together is not asked for, and the panel says what is", () =>
  dashboard("?is.browser=Firefox", async ({ panel, asked }) => {
    assert.match(await panel("Pages").locator('[data-why="not-kept"]').textContent(), /pages and browsers are not kept together/);
    assert.ok(asked().every(({ dimensions = [] }) => dimensions.length === 0), "the figures of the whole site alone");
    await panel("Devices").getByRole("tab", { name: "Browsers" }).click();
    assert.match(await panel("Devices").locator("tbody").textContent(), /^Firefox/);
  }));

test("of closed days, what only events have tells views and no visits", () =>
  dashboard("?is.page=/pricing", async ({ page, panel, asked }) => {
    assert.deepEqual(await page.locator(".tile .label").allTextContents(), ["Daily visitors", "Page views"]);
    assert.deepEqual(await panel("Sources").locator("thead th").allTextContents(), ["Channel", "Visitors", "Views"]);
    assert.equal(await page.locator('[role="alert"]').count(), 0, "nothing was asked that is refused");
    assert.ok(asked().every(({ metrics }) => !metrics.includes("visits")));
  }));

test("under a filter of closed days the panels say that figures are rounded", () =>
  dashboard("?is.country=DE", async ({ panel }) => {
    assert.match(await panel("Pages").locator("footer").textContent(), /Rounded to multiples of 5/);
  }));

test("values that were folded say so, and cannot be filtered by", () =>
  dashboard("", async ({ panel }) => {
    const sources = panel("Sources");
    assert.match(await sources.locator("footer").textContent(), /Values under 5 visitors a day are in “Other”/);
    assert.equal(await sources.locator("tr.other .value").textContent(), "Other, together");
    assert.equal(await sources.locator("tr.other button").count(), 0);
  }));

test("tabs change by click and by arrow keys, and stay in the address", () =>
  dashboard("", async ({ page, panel, settled, parameters }) => {
    const pages = panel("Pages");
    await pages.getByRole("tab", { name: "Entry" }).click();
    await settled();
    assert.equal(await pages.locator("thead th").first().textContent(), "Entry page");
    await page.keyboard.press("ArrowRight");
    await settled();
    assert.equal(await pages.getByRole("tab", { name: "Exit" }).getAttribute("aria-selected"), "true");
    assert.ok(await pages.getByRole("tab", { name: "Exit" }).evaluate((tab) => tab === document.activeElement));
    assert.deepEqual(parameters(), { "tab.pages": "exit_page" });
    for (const [title, tab, heading] of [["Sources", "Sources", "Source"], ["Sources", "Campaigns", "Campaign"], ["Devices", "Systems", "System"], ["Devices", "Screens", "Screen"], ["Actions", "Events", "Event"], ["Actions", "Properties", "Property"]]) {
      await panel(title).getByRole("tab", { name: tab }).click();
      await settled();
      assert.equal(await panel(title).locator("thead th").first().textContent(), heading);
      assert.ok((await rowsOf(panel(title))) > 0, tab);
    }
  }));

test("the map says what is under the pointer, and filters", () =>
  dashboard("", async ({ page, settled, parameters }) => {
    const country = page.locator('.world [data-country="BR"]');
    await country.hover();
    assert.match(await page.locator(".world .over").textContent(), /^Brazil: \d+ daily visitors$/);
    assert.equal(await page.locator('.world [data-country="DE"]').first().getAttribute("data-shade"), "6");
    assert.equal(await page.locator('.world circle[data-country="SG"]').count(), 1, "a small country has a circle");
    assert.equal(await page.locator('.world circle[data-country="MT"]').count(), 0, "too few there to be named");
    await country.click();
    await settled();
    assert.deepEqual(parameters(), { "is.country": "BR" });
  }));

test("days are chosen from a list or one by one, and what they are compared with", () =>
  dashboard("", async ({ page, settled, parameters, asked }) => {
    const open = () => page.locator(".choice").click();
    await open();
    await picture(page, "days");
    await page.getByRole("button", { name: /^Last 7 days/ }).click();
    await settled();
    assert.deepEqual(parameters(), { range: "7d" });
    assert.ok(asked().some(({ range }) => range === "7d"));
    await open();
    await page.getByLabel("From").fill("2026-10-05");
    await page.getByLabel("To", { exact: true }).fill("2026-10-01");
    assert.ok(await page.getByRole("button", { name: "Show these days" }).isDisabled());
    await page.getByLabel("To", { exact: true }).fill("2026-10-11");
    await page.getByRole("button", { name: "Show these days" }).click();
    await settled();
    assert.deepEqual(parameters(), { range: "2026-10-05..2026-10-11" });
    assert.ok(asked().every(({ range }) => range.from === "2026-10-05" && range.to === "2026-10-11"));
    await page.getByLabel("Compare").selectOption("none");
    await settled();
    assert.equal(await page.locator(".change, .key.before").count(), 0);
    assert.ok(asked().every((question) => !("compare" in question)));
    await page.getByLabel("Compare").selectOption("year");
    await settled();
    assert.match(await page.locator(".key.before").textContent(), /2025/);
  }));

test("one day is shown by its hours, which are of the whole site alone", () =>
  dashboard("?range=today", async ({ page, panel, settled, asked }) => {
    assert.equal(asked().find(({ dimensions }) => !dimensions).interval, "hour");
    await page.locator(".chart").focus();
    await page.keyboard.press("Home");
    assert.match(await page.locator(".tip").textContent(), /^Mon,? 23 Nov, 00:00/);
    await page.keyboard.press("End");
    assert.match(await page.locator(".tip").textContent(), /23:00Daily visitors –/, "an hour to come has no figure");
    await value(panel("Countries"), "Germany").click();
    await settled();
    assert.match(await page.locator(".figures .empty").textContent(), /Hours are counted for the whole site/);
  }));

test("a switch of the site keeps the days and drops the filter; a site without ids shows visits", () =>
  dashboard("?range=7d&is.country=DE", async ({ page, panel, settled, parameters }) => {
    await page.getByRole("combobox", { name: "Site" }).selectOption("quiet.example");
    await settled();
    assert.deepEqual(parameters(), { site: "quiet.example", range: "7d" });
    assert.deepEqual(await page.locator(".tile .label").allTextContents(), ["Visits", "Page views"]);
    assert.deepEqual(await panel("Sources").locator("thead th").allTextContents(), ["Channel", "Visits"]);
    assert.match(await page.locator(".below").textContent(), /No visitors are told apart here/);
    await page.goBack();
    await settled();
    assert.equal(await page.getByRole("combobox", { name: "Site" }).inputValue(), "example.org");
  }));

test("the realtime view counts the last thirty minutes", () =>
  dashboard("", async ({ page, parameters }) => {
    await page.getByRole("link", { name: "Realtime" }).click();
    await page.getByRole("heading", { name: "The last 30 minutes" }).waitFor();
    await page.waitForFunction(() => document.querySelector(".big dd")?.textContent === "37");
    assert.equal(await page.locator(".minutes li").count(), 30);
    assert.deepEqual(parameters(), { view: "realtime" });
    await picture(page, "realtime");
    await page.getByRole("link", { name: "All of today" }).click();
    assert.deepEqual(parameters(), { view: "overview", range: "today" });
  }));

test("what was not counted stands there by its reason", () =>
  dashboard("", async ({ panel, state }) => {
    const lines = (await panel("Not counted").locator("li").allTextContents()).map((line) => line.trim());
    assert.equal(lines[0], "The visitor's browser says Global Privacy Control 1,912");
    assert.ok(lines.includes("The page is on a host that does not belong to the site Add it to the site's hosts. 12"));
    assert.ok(!lines.some((line) => /accepted/.test(line)));
    assert.deepEqual(state.asked.find(([path]) => path === "/v1/outcomes")[1], { site: "example.org", from: "2026-10-25", to: "2026-11-23" });
  }));

test("each panel is saved as a file, whole", () =>
  dashboard("?range=7d", async ({ page, panel, asked }) => {
    for (const [title, first] of [["Pages", "page"], ["Sources", "channel"], ["Countries", "country"], ["Devices", "device"], ["Actions", "goal"]]) {
      asked();
      const [download] = await Promise.all([page.waitForEvent("download"), panel(title).getByRole("button", { name: "Save as CSV" }).click()]);
      assert.match(download.suggestedFilename(), new RegExp(`^example\\.org-${title.toLowerCase()}-.*-2026-11-17-2026-11-23\\.csv$`));
      const [head, ...rows] = (await readFile(await download.path(), "utf8")).split("\r\n");
      assert.ok(head.startsWith(`"${first}"`) && rows.length >= 1, head);
      assert.deepEqual(asked().map(({ format, limit }) => [format, limit]), [["csv", 10_000]]);
    }
  }));

test("more rows are shown on demand", () =>
  dashboard("", async ({ panel, settled }) => {
    assert.equal(await rowsOf(panel("Pages")), 9);
    await panel("Pages").getByRole("button", { name: "Show more" }).click();
    await settled();
    assert.ok((await rowsOf(panel("Pages"))) > 9);
  }));

test("everything is reached by keyboard", () =>
  dashboard("", async ({ page, settled, parameters }) => {
    const seen = [];
    for (let step = 0; step < 60; step += 1) {
      await page.keyboard.press("Tab");
      const name = await page.evaluate(() => {
        const element = document.activeElement;
        return element.ariaLabel || element.labels?.[0]?.textContent || element.textContent.trim();
      });
      seen.push(name);
      if (name === "/pricing") break;
    }
    for (const wanted of ["Skip to the content", "Realtime", "Show the chart as a table", "All", "Save as CSV", "/pricing"]) assert.ok(seen.includes(wanted), `${wanted} in ${seen.join(" | ")}`);
    await page.keyboard.press("Enter");
    await settled();
    assert.deepEqual(parameters(), { "is.page": "/pricing" });
  }));

test("light and dark are the system's, until they are chosen", () =>
  dashboard("", async ({ page }) => {
    const paper = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    const dark = await paper();
    await page.getByRole("button", { name: /^Colours: as the system/ }).click();
    const light = await paper();
    assert.notEqual(light, dark);
    await page.reload();
    assert.equal(await paper(), light, "it is remembered");
    await page.getByRole("button", { name: /^Colours: light/ }).click();
    assert.equal(await paper(), dark);
  }, { colorScheme: "dark" }));
