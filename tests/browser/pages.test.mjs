// The built-in pages in a real Chromium: the installation check, the login, the demonstration; served as the private listener serves them: the same policy, the sample of the overview, no other host.
// `SCREENSHOTS=folder node --test pages.test.mjs` keeps pictures of them; `make picture` renews the one in the README.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { seriousFaults } from "./axe.mjs";
import { openBrowser } from "./harness.mjs";
import { file, office as openOffice, picture, sample } from "./office.mjs";

const schema = JSON.parse(await file("overview.schema.json"));

let browser;
before(async () => (browser = await openBrowser()));
after(() => browser.close());

/** A collector that answers no analyst: the installation check is all there is. */
const office = (options, body) => openOffice(browser, options, (visited) => ((visited.state.sites = undefined), body(visited)));
const ready = (page) => page.waitForSelector(".card:visible");
const card = (page, site) => page.locator(`.card[data-site="${site}"]`);

/** Whether `value` fits `shape`: the part of JSON Schema that overview.schema.json uses. */
function fits(value, shape) {
  if (shape.$ref) return fits(value, schema.$defs[shape.$ref.split("/").pop()]);
  if (shape.anyOf) return shape.anyOf.some((one) => fits(value, one));
  const kind = value === null ? "null" : Array.isArray(value) ? "array" : Number.isInteger(value) ? "integer" : typeof value;
  if (shape.type && ![shape.type].flat().includes(kind)) return false;
  if (kind === "integer" && (value < (shape.minimum ?? -Infinity) || value > (shape.maximum ?? Infinity))) return false;
  if (kind === "array") return value.every((item, index) => fits(item, shape.prefixItems?.[index] ?? shape.items ?? {}));
  if (kind !== "object") return true;
  const keys = Object.keys(value);
  return (shape.required ?? []).every((key) => key in value) && keys.every((key) => key in shape.properties && fits(value[key], shape.properties[key]));
}

test("the sample is an instance of the overview's schema", () => {
  assert.ok(fits(sample, schema));
  for (const broken of [{ ...sample, sites: null }, { ...sample, more: 1 }, { ...sample, close_after_hours: 12 }]) assert.ok(!fits(broken, schema), "a deviation is noticed");
});

test("each site shows its totals, its installation check and why events were not counted", () =>
  office({}, async ({ page, origin }) => {
    await page.goto(origin);
    await ready(page);
    const shop = card(page, "example.org");
    assert.deepEqual(await shop.locator("dd").allTextContents(), ["18,423", "6,120", "941"]);
    assert.equal(await shop.locator(".check").textContent(), "Last event 4 seconds ago");
    assert.deepEqual(
      (await shop.locator(".rows li").allTextContents()).map((line) => line.replace(/\s+/g, " ").trim()),
      [
        "1,312events counted Page views, time on pages and custom events.",
        "3Refused: The page is on a host that does not belong to the site Add it to the site's hosts.",
        "41Not counted: The visitor's browser says Global Privacy Control",
        "17Not counted: Crawlers",
        "2paths were masked Something in them looked like a person's. If it is public, name the path under path_keep.",
      ],
    );
    assert.equal(await card(page, "shop.example").locator(".check").textContent(), "Waiting for the first event");
    assert.equal(await card(page, "old.example").locator(".check").textContent(), "Last event 90 minutes ago");
    assert.deepEqual(await card(page, "old.example").locator("dd").allTextContents(), ["–", "–", "–"]);
    assert.deepEqual(await page.locator(".notice strong").allTextContents(), ["Visitors cannot be told apart", "The site's id is not configured (12 in the last 10 minutes)"]);
    assert.match(await page.locator("footer").textContent(), /48 hours/);
    await picture(page, "desktop-light");
  }));

test("the picture of the README can be taken", () =>
  office({ viewport: { width: 960, height: 720 } }, async ({ page, origin, state }) => {
    Object.assign(state.overview, { proxy_banner: null, close_after_hours: null, unattributed: [], sites: state.overview.sites.slice(0, 2) });
    await page.goto(origin);
    await ready(page);
    const path = process.env.README_PICTURE;
    const picture = await page.screenshot({ path, fullPage: true });
    assert.ok(picture.length < 200_000, `${picture.length} bytes`);
  }));

for (const [what, check, words] of [
  ["refused only", { refused: [["unknown_site", 2]] }, "Events arrive, but are refused"],
  ["dropped only", { dropped: [["gpc", 2]] }, "Events arrive, none is counted yet"],
  ["a reason this page does not know", { refused: [["brand_new", 2]] }, "Events arrive, but are refused"],
]) {
  test(`the installation check tells ${what}`, () =>
    office({}, async ({ page, origin, state }) => {
      Object.assign(state.overview.sites[1].check, check);
      await page.goto(origin);
      await ready(page);
      assert.equal(await card(page, "shop.example").locator(".check").textContent(), words);
    }));
}

test("the tag is open for a new site, closed for one that works, and copies as it is", () =>
  office({ permissions: ["clipboard-read", "clipboard-write"] }, async ({ page, origin }) => {
    await page.goto(origin);
    await ready(page);
    assert.equal(await card(page, "example.org").locator("details").getAttribute("open"), null);
    await card(page, "shop.example").getByRole("button", { name: "Copy" }).click();
    await page.getByRole("button", { name: "Copied" }).waitFor();
    assert.equal(await page.evaluate(() => navigator.clipboard.readText()), sample.sites[1].snippet);
  }));

test("the page keeps itself fresh, and says when there is no answer", () =>
  office({}, async ({ page, origin, state }) => {
    await page.clock.install();
    await page.goto(origin);
    await ready(page);
    await card(page, "example.org").locator("summary").click();
    state.overview.sites[0].today.views = 18_424;
    await page.clock.runFor(5_000);
    await page.getByText("18,424").waitFor();
    assert.notEqual(await card(page, "example.org").locator("details").getAttribute("open"), null, "what was opened stays open");
    state.status = 500;
    await page.clock.runFor(5_000);
    await page.getByText("does not answer").waitFor();
    state.status = 200;
    await page.clock.runFor(5_000);
    await page.getByText("Version 0.1.0").waitFor();
  }));

test("the demonstration shows itself while it is new or used, and is a link otherwise", () =>
  office({}, async ({ page, origin, state }) => {
    const demo = state.overview.sites.at(-1);
    await page.clock.install();
    await page.goto(origin);
    await ready(page);
    assert.equal(await card(page, "demo").count(), 0, "silent beside sites of one's own");
    assert.equal(await page.getByRole("link", { name: "Demonstration" }).getAttribute("href"), "/demo");
    demo.check = { ...demo.check, last_event_seconds: 1, accepted: 1 };
    await page.clock.runFor(5_000);
    await card(page, "demo").waitFor();
    assert.equal(await card(page, "demo").getByRole("link").getAttribute("href"), "/demo");
    assert.equal(await card(page, "demo").locator("pre").count(), 0, "its tag is of use to nobody");
    assert.equal(await page.getByText("headcount site add").count(), 0);
  }));

test("without a site of one's own the page says how to add one", () =>
  office({}, async ({ page, origin, state }) => {
    const sites = [{ ...state.overview.sites[1], site: "localhost" }, state.overview.sites.at(-1)];
    Object.assign(state.overview, { sites, proxy_banner: null, unattributed: [], store_answers: false, close_after_hours: null });
    await page.goto(origin);
    await page.getByText("headcount site add example.org").waitFor();
    assert.equal(await page.locator(".card[data-site]").count(), 2);
    assert.match(await page.locator(".notice").textContent(), /totals cannot be read/);
    assert.match(await page.locator("footer").textContent(), /does not erase open days yet/);
    await picture(page, "empty");
  }));

test("a site's name cannot become markup", () =>
  office({}, async ({ page, origin, state }) => {
    state.overview.sites[0].site = "<img src=x onerror=alert(1)>";
    state.overview.proxy_banner = "<b>bold</b>";
    await page.goto(origin);
    await ready(page);
    assert.equal(await page.locator("h2 img, .notice b").count(), 0);
    assert.equal(await page.locator("h2").first().textContent(), "<img src=x onerror=alert(1)>");
  }));

for (const [name, options] of [
  ["phone-light", { viewport: { width: 360, height: 740 }, deviceScaleFactor: 2 }],
  ["phone-dark", { viewport: { width: 360, height: 740 }, deviceScaleFactor: 2, colorScheme: "dark" }],
  ["desktop-dark", { colorScheme: "dark" }],
]) {
  for (const path of ["/", "/login", "/demo", "/demo/pricing", "/demo/consent"]) {
    test(`${path} fits ${name}, names its controls and has enough contrast`, () =>
      office(options, async ({ page, origin }) => {
        await page.goto(origin + path);
        await ready(page);
        assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), "nothing sticks out");
        assert.deepEqual(await page.evaluate(faults), []);
        assert.deepEqual(await seriousFaults(page), []);
        await picture(page, `${name}${path.replaceAll("/", "-")}`);
      }));
  }
}

test("axe finds what is wrong with a page", () =>
  office({}, async ({ page, origin }) => {
    await page.goto(origin);
    await ready(page);
    await page.evaluate(() => {
      document.querySelector("button.icon").removeAttribute("aria-label");
      document.querySelector("button.icon").removeAttribute("title");
    });
    assert.match((await seriousFaults(page)).join(), /^button-name: /);
  }));

/** In the page: controls without a name or too small to touch, headings out of order, texts below WCAG AA's 4.5:1. */
function faults() {
  const found = [];
  const visible = (element) => element.checkVisibility() && element.getClientRects().length;
  for (const control of document.querySelectorAll("button, input, summary, nav a")) {
    if (!visible(control)) continue;
    const name = control.textContent.trim() || control.ariaLabel || control.labels?.[0]?.textContent;
    if (!name) found.push(`no name: ${control.outerHTML}`);
    if (control.matches("button, input") && control.getBoundingClientRect().height < 44) found.push(`small: ${name}`);
  }
  if (document.querySelectorAll("main").length !== 1 || [...document.querySelectorAll("h1")].filter(visible).length !== 1) found.push("not one main and one h1");
  const channels = (color) => color.match(/[\d.]+/g).map(Number);
  const luminance = (color) => {
    const [r, g, b] = channels(color).map((value) => (value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const paper = (element) => {
    const color = getComputedStyle(element).backgroundColor;
    return (channels(color)[3] ?? 1) > 0 || !element.parentElement ? color : paper(element.parentElement);
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const { parentElement: element, textContent } = walker.currentNode;
    if (!textContent.trim() || !visible(element) || element.matches(".skip")) continue;
    const [light, dark] = [luminance(getComputedStyle(element).color), luminance(paper(element))].sort((a, b) => b - a);
    const contrast = (light + 0.05) / (dark + 0.05);
    if (contrast < 4.5) found.push(`contrast ${contrast.toFixed(2)}: ${textContent.trim()}`);
  }
  return found;
}

test("the demonstration sends what a visitor does, and shows it", () =>
  office({}, async ({ page, origin, state }) => {
    await page.goto(`${origin}/demo`);
    await page.getByText('"kind": "pageview"').waitFor();
    await page.getByRole("link", { name: "Pricing" }).click();
    await page.getByRole("button", { name: "Buy for 49 €" }).click();
    await page.getByText('"name": "purchase"').waitFor();
    await picture(page, "demo-after-a-purchase");
    await page.getByRole("button", { name: "Do not count me" }).click();
    await page.getByRole("button", { name: "Sign up" }).click();
    await page.goto(`${origin}/demo/consent`);
    await page.getByRole("button", { name: "You may count me" }).click();
    assert.match(await page.locator("#sent").textContent(), /Nothing yet/, "the choice holds on the next page");
    const sent = state.sent.map(([path, text]) => [path, JSON.parse(text)]);
    assert.ok(sent.every(([path, event]) => path === "/public/e" && event.site === "demo"));
    const seen = sent.map(([, event]) => `${event.kind} ${event.name ?? ""}`.trim());
    assert.deepEqual(seen.filter((kind) => kind !== "engagement"), ["pageview", "pageview", "event purchase"]);
    assert.deepEqual(sent.find(([, event]) => event.name)[1].props, { plan: "pro" });
  }));
