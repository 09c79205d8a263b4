// What can be told about the script without a browser. Its behaviour is tested in tests/browser.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import test from "node:test";
import { gzipSync } from "node:zlib";
import { parse } from "acorn";
import { build, result } from "./build.mjs";

const committed = await readFile(result, "utf8");

/** 1.4 KB, read the strict way. */
const GZIP_BYTES_MAX = 1_400;

test("the committed script is what its source builds to", async () => {
  assert.equal(committed, await build(), "run `npm run build` in collector/snippet");
});

test("the script stays within its size budget", (context) => {
  const size = gzipSync(committed, { level: 9 }).length;
  context.diagnostic(`${size} bytes of gzip`);
  assert.ok(size <= GZIP_BYTES_MAX, `${size} bytes of gzip, ${GZIP_BYTES_MAX} allowed`);
});

test("the script is no newer than ES2017", () => {
  parse(committed, { ecmaVersion: 2017, sourceType: "script" });
  assert.throws(() => parse("a?.b", { ecmaVersion: 2017 }), "the parser would notice");
});

test("the event path stands in it exactly once, where the collector replaces it", () => {
  assert.equal(committed.split('"./e"').length - 1, 1);
});

test("the script names no cookie, no evaluation of text and none of the interfaces that tell browsers apart", () => {
  const forbidden = /cookie|indexedDB|sessionStorage|\beval\b|Function\(|canvas|WebGL|plugins|hardwareConcurrency|deviceMemory|userAgent|getTimezone|timeZone|AudioContext|fonts/i;
  assert.doesNotMatch(committed, forbidden);
  assert.match("document.cookie", forbidden, "the pattern would notice");
});
