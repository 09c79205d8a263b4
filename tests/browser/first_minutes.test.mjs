// The first five minutes with Headcount: nothing configured, the printed link, the demonstration, a first site of one's own.
// `SCREENSHOTS=folder node --test first_minutes.test.mjs` keeps pictures of them.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { startCollector } from "./collector.mjs";
import { openBrowser, openSite, ordinaryAgent, page as pageWith, visit } from "./harness.mjs";

let browser, collector, site;
let hasFigures = false;
before(async () => {
  [browser, collector] = await Promise.all([openBrowser({ userAgent: ordinaryAgent }), startCollector()]);
  site = await openSite({ render: (url) => pageWith({ source: `${collector.visitors}/h.js` }).replace('"localhost"', `"${url.searchParams.get("site")}"`) });
});
after(() => Promise.all([browser?.close(), collector?.stop(), site?.close()]));

/** Runs `body` with the operator's browser, logged in by the printed link, at the installation check: once there are figures, the link opens on those. */
async function operator(options, body) {
  const person = await visit(browser, { colorScheme: "light", ...options });
  try {
    await person.page.goto(collector.operator);
    if (hasFigures) await person.page.goto(`${collector.office}/?view=installation`);
    await person.page.waitForSelector(".card[data-site]");
    await body(person.page);
    assert.deepEqual(person.errors, [], "no error on the page");
    assert.deepEqual(person.lines, [], "nothing against the policy");
  } finally {
    await person.close();
  }
}

const picture = async (page, name) => process.env.SCREENSHOTS && (await page.screenshot({ path: `${process.env.SCREENSHOTS}/${name}.png`, fullPage: true }));
const card = (page, name) => page.locator(`.card[data-site="${name}"]`);

test("the printed link opens the first page, which shows the sites that are there already", () =>
  operator({}, async (page) => {
    assert.equal(page.url(), `${collector.office}/`, "the token has left the address bar");
    assert.deepEqual(await page.locator("h2").allTextContents(), ["localhost", "demo", "Count a site of your own"]);
    assert.deepEqual(await page.locator(".check").allTextContents(), ["Waiting for the first event", "Waiting for the first event"]);
    await picture(page, "first-minute");
  }));

test("what is done in the demonstration stands on the first page", () =>
  operator({}, async (page) => {
    await page.getByRole("link", { name: "Open the demonstration" }).click();
    await page.getByText('"kind": "pageview"').waitFor();
    await page.getByRole("link", { name: "Articles" }).click();
    await page.getByRole("link", { name: "Pricing" }).click();
    await page.getByRole("button", { name: "Buy for 49 €" }).click();
    await picture(page, "first-demonstration");
    await page.getByRole("button", { name: "Do not count me" }).click();
    await page.getByRole("link", { name: "Home" }).click();
    hasFigures = true;
    await page.goto(`${collector.office}/?view=installation`);
    await card(page, "demo").getByText(/Last event \d+ seconds? ago/).waitFor();
    await page.waitForFunction(() => document.querySelector('[data-site="demo"] dd')?.textContent === "3");
    assert.deepEqual(await card(page, "demo").locator("dd").allTextContents(), ["3", "1", "1"]);
    await picture(page, "first-totals");
  }));

test("a page on this machine counts for localhost", () =>
  operator({}, async (page) => {
    const person = await visit(browser);
    await person.page.goto(`${site.origin}/?site=localhost`);
    await card(page, "localhost").getByText(/Last event \d+ seconds? ago/).waitFor();
    await person.close();
  }));

test("a site that is added is on the page at once, and what goes wrong with it is said there", () =>
  operator({}, async (page) => {
    assert.match(await collector.command("site", "add", "example.test", "--timezone", "Europe/Berlin"), /running collector has been told[^]*data-site="example.test"/);
    await card(page, "example.test").waitFor();
    assert.deepEqual(await page.locator("h2").allTextContents(), ["example.test", "demo"], "localhost has done its work; demo is shown as long as it is used");
    const tag = await card(page, "example.test").locator("pre").textContent();
    assert.equal(tag, `<script defer src="${collector.visitors}/h.js" data-site="example.test"></script>`);

    const person = await visit(browser);
    await person.page.goto(`${site.origin}/?site=example.test`);
    await card(page, "example.test").getByText("Events arrive, but are refused").waitFor();
    await card(page, "example.test").getByText("The page is on a host that does not belong to the site").waitFor();
    await person.page.goto(`${site.origin}/?site=exampel.test`);
    await page.locator(".notice", { hasText: "The site's id is not configured" }).waitFor();
    await person.page.goto(`http://www.example.test:${site.port}/?site=example.test`);
    await card(page, "example.test").getByText(/Last event \d+ seconds? ago/).waitFor();
    // Whoever comes from this machine for another host's page is taken for a proxy, and this one names nobody.
    await page.locator(".notice", { hasText: "A trusted proxy names no visitor" }).waitFor();
    await person.page.goto(`${collector.office}/demo`);
    await person.page.getByText('"kind": "pageview"').waitFor();
    await person.close();
    await page.waitForFunction(() => document.querySelector('[data-site="demo"] dd')?.textContent === "4");
    await picture(page, "first-site");
  }));

for (const [name, options] of [
  ["phone", { viewport: { width: 360, height: 740 }, deviceScaleFactor: 2 }],
  ["dark", { colorScheme: "dark" }],
]) {
  test(`it fits ${name}`, () =>
    operator(options, async (page) => {
      assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), "nothing sticks out");
      await picture(page, `first-${name}`);
    }));
}
