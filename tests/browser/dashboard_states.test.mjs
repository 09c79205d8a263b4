// The dashboard when not all is well or not all may be seen: nothing yet, no answer, an analyst, a share link, a phone.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { NOW, SITES } from "./analyst.mjs";
import { seriousFaults } from "./axe.mjs";
import { openBrowser } from "./harness.mjs";
import { office, picture } from "./office.mjs";

let browser;
before(async () => (browser = await openBrowser()));
after(() => browser.close());

/** Runs `body` with the pages opened at `path` after `prepare` changed what they are told. */
const opened = (path, prepare, body, options = {}) =>
  office(browser, { viewport: { width: 1280, height: 900 }, ...options }, async (visited) => {
    await prepare(visited.state);
    await visited.page.clock.setFixedTime(NOW);
    await visited.page.goto(visited.origin + path);
    await body(visited);
  });
const settled = (page) => page.waitForFunction(() => document.querySelector("main") && !document.querySelector('[aria-busy="true"], .ghosts'));
const refused = (status, error, message, allowed = []) => ({ status, body: { error, field: "", allowed, message } });

test("a site without a day shows the installation check first, and the overview on demand", () =>
  opened(
    "/",
    (state) => state.sites.sites.forEach((site) => (site.first_day = null)),
    async ({ page }) => {
      await page.locator('.card[data-site="example.org"]').waitFor();
      await page.getByRole("link", { name: "Overview" }).click();
      await page.locator(".tile").first().waitFor();
      await page.getByRole("link", { name: "Installation" }).click();
      await page.getByText("Version 0.1.0").waitFor();
    },
  ));

test("a collector that answers no questions shows the installation check alone", () =>
  opened(
    "/?view=overview",
    (state) => (state.sites = undefined),
    async ({ page }) => {
      await page.locator('.card[data-site="example.org"]').waitFor();
      assert.equal(await page.getByRole("link", { name: "Overview" }).count(), 0);
    },
  ));

test("days with nothing in them say so", () =>
  opened("/?range=2026-06-01..2026-06-07", () => {}, async ({ page }) => {
    await settled(page);
    assert.deepEqual([...new Set(await page.locator(".panel .empty").allTextContents())], ["Nothing in these days."]);
    assert.equal(await page.locator(".tile", { hasText: "Visits" }).locator(".value").textContent(), "0");
    assert.equal(await page.locator(".tile", { hasText: "Bounce rate" }).locator(".value").textContent(), "–", "no rate of nothing");
    await picture(page, "nothing");
  }));

test("while figures are on their way their places are kept, and the last ones stay", () =>
  opened("/", () => {}, async ({ page, state }) => {
    await settled(page);
    let go;
    const held = new Promise((resolve) => (go = resolve));
    state.refuse = async (path, question) => (path === "/v1/query" && question.range === "7d" ? void (await held) : undefined);
    await page.locator(".choice").click();
    await page.getByRole("button", { name: /^Last 7 days/ }).click();
    await page.locator('.figures[aria-busy="true"]').waitFor();
    assert.ok((await page.locator(".panel.pages tbody tr").count()) > 0, "the rows of before are still there");
    go();
    await settled(page);
  }));

test("a first load that takes long shows places for its rows", () =>
  opened(
    "/",
    (state) => {
      const held = new Promise((resolve) => (state.release = resolve));
      state.refuse = async (path) => (path === "/v1/query" ? void (await held) : undefined);
    },
    async ({ page, state }) => {
      await page.locator(".panel.pages .ghosts").waitFor();
      await picture(page, "loading");
      state.release();
      await settled(page);
      assert.ok((await page.locator(".panel.pages tbody tr").count()) > 0);
    },
  ));

test("a question that is refused says why, and what could be asked; the rest of the page stands", () =>
  opened(
    "/",
    (state) => (state.refuse = (path, question) => (question?.dimensions?.[0] === "page" ? refused(400, "not_stored", "Pages are not stored.", ["country"]) : undefined)),
    async ({ page }) => {
      await settled(page);
      assert.match(await page.locator(".panel.pages").textContent(), /Pages are not stored\.Possible: country\./);
      assert.ok((await page.locator(".panel.sources tbody tr").count()) > 0);
    },
  ));

test("when ClickHouse is away the page says so, and asks again on demand", () =>
  opened(
    "/",
    (state) => (state.refuse = (path) => (path === "/v1/query" ? { status: 503, body: {} } : undefined)),
    async ({ page, state }) => {
      await page.locator(".figures").getByText("ClickHouse does not answer now. Events are still taken and kept.").waitFor();
      await picture(page, "away");
      state.refuse = () => undefined;
      await page.locator(".figures").getByRole("button", { name: "Ask again" }).click();
      await page.locator(".tile .was").first().waitFor();
    },
  ));

test("a file that cannot be saved says so", () =>
  opened("/", () => {}, async ({ page, state }) => {
    await settled(page);
    state.refuse = (path, question) => (question?.format === "csv" ? { status: 503, body: {} } : undefined);
    await page.locator(".panel.pages").getByRole("button", { name: "Save as CSV" }).click();
    await page.locator(".panel.pages").getByRole("button", { name: /ClickHouse does not answer now/ }).waitFor();
  }));

test("an analyst sees figures, and nothing of the collector is asked for", () =>
  opened(
    "/?view=installation",
    (state) => Object.assign(state.sites, { role: "analyst", sites: state.sites.sites.slice(0, 1) }),
    async ({ page, state }) => {
      const asked = [];
      page.on("request", (request) => asked.push(new URL(request.url()).pathname));
      await settled(page);
      assert.equal(await page.getByRole("link", { name: "Installation" }).count(), 0);
      assert.equal(await page.locator(".site-name").textContent(), "example.org", "no switch with one site");
      assert.ok(state.asked.length > 5 && !asked.includes("/api/overview.json"));
    },
  ));

test("a share link has the overview of closed days and nothing of the moment", () =>
  opened(
    "/share/0123456789abcdef",
    (state) => (state.sites = { role: "public", sites: [{ ...SITES.sites[0], k: 10, open_from: "2026-11-24", pairs: [] }] }),
    async ({ page, state }) => {
      const asked = new Set();
      page.on("request", (request) => asked.add(new URL(request.url()).pathname));
      await page.reload();
      await settled(page);
      await page.locator(".world path").first().waitFor();
      for (const path of asked) assert.ok(path.startsWith("/share/"), path);
      assert.ok(asked.has("/share/0123456789abcdef/v1/query") && asked.has("/share/app.js"));
      assert.deepEqual([...new Set(state.asked.map(([path]) => path))].sort(), ["/v1/query", "/v1/sites"]);
      for (const name of ["Realtime", "Installation", "Demonstration"]) assert.equal(await page.getByRole("link", { name }).count(), 0, name);
      assert.equal(await page.getByRole("heading", { name: "Not counted" }).count(), 0);
      await page.locator(".values button", { hasText: "Germany" }).click();
      assert.equal(new URL(page.url()).pathname, "/share/0123456789abcdef");
      assert.equal(new URL(page.url()).search, "?is.country=DE");
    },
  ));

test("a value cannot become markup", () =>
  opened(
    "/",
    (state) => {
      state.refuse = (path, question) =>
        question?.dimensions?.[0] === "page"
          ? { status: 200, body: { columns: [{ name: "page", kind: "dimension" }, { name: "daily_visitors", kind: "metric", unit: "count" }], rows: [["<img src=x onerror=alert(1)>", 7]], totals: [7], comparison: null, folded: false, next_offset: null, notes: [], from: "2026-11-01", to: "2026-11-02", k: 5, visits_as_of: null, timezone: "UTC", site: "example.org" } }
          : undefined;
    },
    async ({ page }) => {
      await settled(page);
      assert.equal(await page.locator(".panel.pages .value").textContent(), "<img src=x onerror=alert(1)>");
      assert.equal(await page.locator("img").count(), 0);
    },
  ));

for (const [name, options] of [
  ["desktop-light", {}],
  ["desktop-dark", { colorScheme: "dark" }],
  ["phone-light", { viewport: { width: 360, height: 740 }, deviceScaleFactor: 2, hasTouch: true, isMobile: true }],
  ["phone-dark", { viewport: { width: 360, height: 740 }, deviceScaleFactor: 2, hasTouch: true, isMobile: true, colorScheme: "dark" }],
]) {
  for (const [view, search] of [["overview", ""], ["filtered", "?is.country=DE"], ["realtime", "?view=realtime"], ["installation", "?view=installation"]]) {
    test(`axe finds nothing serious in the ${view}, ${name}, and nothing sticks out`, () =>
      opened(`/${search}`, () => {}, async ({ page }) => {
        await settled(page);
        await page.locator(".card").first().waitFor();
        assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), "nothing sticks out");
        assert.deepEqual(await seriousFaults(page), []);
        await picture(page, `${view}-${name}`);
        if (view !== "overview") return;
        await page.locator(".choice").click();
        assert.deepEqual(await seriousFaults(page), [], "with the days open");
      }, options));
  }
}
