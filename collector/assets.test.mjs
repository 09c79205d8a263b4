// Tests of assets.mjs, with small packages of their own: no network. Run with `node --test collector/assets.test.mjs`.

import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import { after, test } from "node:test";
import { cacheFolder, fetchAll, packageFolder, wanted } from "./assets.mjs";

const root = mkdtempSync(join(tmpdir(), "headcount-assets-"));
after(() => rmSync(root, { recursive: true, force: true }));

function sample() {
  const folder = mkdtempSync(join(root, "case-"));
  mkdirSync(join(folder, "package"));
  writeFileSync(join(folder, "package", "wanted.txt"), "wanted");
  writeFileSync(join(folder, "package", "unwanted.txt"), "unwanted");
  const tarball = join(folder, "sample.tgz");
  execFileSync("tar", ["-czf", tarball, "-C", folder, "package"]);
  const integrity = `sha512-${createHash("sha512").update(readFileSync(tarball)).digest("base64")}`;
  const asset = { asset: "sample", name: "@scope/sample", version: "1.0", integrity, bytes: 1, files: ["wanted.txt"] };
  const cache = join(folder, "cache");
  const written = [];
  const calls = { pack: 0 };
  const pack = async (_, into) => {
    calls.pack += 1;
    const copy = join(into, "sample.tgz");
    copyFileSync(tarball, copy);
    return copy;
  };
  return { asset, cache, calls, written, options: { pack, out: { write: (text) => written.push(text) } } };
}

test("a package is verified, and only the wanted files are kept", async () => {
  const { asset, cache, options } = sample();
  await fetchAll([asset], cache, options);
  assert.deepEqual(readdirSync(cache), ["@scope-sample-1.0"]);
  assert.deepEqual(readdirSync(packageFolder(cache, asset)), ["wanted.txt"]);
});

test("a wrong checksum is refused and leaves nothing", async () => {
  const { asset, cache, options } = sample();
  await assert.rejects(fetchAll([{ ...asset, integrity: "sha512-AAAA" }], cache, options), /checksum of @scope\/sample 1\.0/);
  assert.deepEqual(readdirSync(cache), []);
});

test("a download that was interrupted starts over", async () => {
  const { asset, cache, options } = sample();
  // What a run leaves that was killed: the folder of a process that is gone.
  const gone = spawnSync("true").pid;
  const leftover = join(cache, `.partial-${gone}-abcdef`);
  mkdirSync(leftover, { recursive: true });
  writeFileSync(join(leftover, "sample.tgz"), "half of it");
  await fetchAll([asset], cache, options);
  assert.deepEqual(readdirSync(cache), ["@scope-sample-1.0"]);
});

test("a download that fails leaves nothing, and the next run succeeds", async () => {
  const { asset, cache, options } = sample();
  const failing = { ...options, pack: async () => Promise.reject(new Error("connection reset")) };
  await assert.rejects(fetchAll([asset], cache, failing), /connection reset/);
  assert.deepEqual(readdirSync(cache), []);
  await fetchAll([asset], cache, options);
  assert.ok(existsSync(packageFolder(cache, asset)));
});

test("a second run is quiet, quick and fetches nothing", async () => {
  const { asset, cache, calls, written, options } = sample();
  await fetchAll([asset], cache, options);
  written.length = 0;
  const start = performance.now();
  await fetchAll([asset], cache, options);
  assert.ok(performance.now() - start < 200);
  assert.deepEqual([calls.pack, written], [1, []]);
});

test("two runs side by side both succeed", async () => {
  const { asset, cache, options } = sample();
  await Promise.all([fetchAll([asset], cache, options), fetchAll([asset], cache, options)]);
  assert.deepEqual(readdirSync(cache), ["@scope-sample-1.0"]);
  assert.equal(readFileSync(join(packageFolder(cache, asset), "wanted.txt"), "utf8"), "wanted");
});

test("a large download says how far it is", async () => {
  const { asset, cache, written, options } = sample();
  await fetchAll([{ ...asset, bytes: 178e6 }], cache, options);
  assert.deepEqual(written.filter((text) => text.trim()), [
    "assets: @scope/sample 1.0: 0 of 178 MB\n",
    "assets: @scope/sample 1.0: verified and unpacked\n",
  ]);
});

test("the cache's place follows the environment", () => {
  assert.equal(cacheFolder({ HEADCOUNT_ASSETS: "/a", XDG_CACHE_HOME: "/b" }), "/a");
  assert.equal(cacheFolder({ XDG_CACHE_HOME: "/b" }), "/b/headcount");
  assert.match(cacheFolder({}), /\.cache\/headcount$/);
});

test("every pin is whole, and a platform gets its own engine", () => {
  const { assets } = JSON.parse(readFileSync(new URL("assets.json", import.meta.url), "utf8"));
  for (const asset of assets) {
    assert.match(asset.integrity, /^sha512-[A-Za-z0-9+/]{86}==$/, asset.name);
    assert.ok(asset.version && asset.license && asset.bytes > 0 && asset.files.length > 0, asset.name);
  }
  const names = (options) => wanted(assets, options).map((asset) => asset.asset);
  assert.deepEqual(names({ platform: "linux-x64" }), ["engine", "geo", "user_agents", "crawlers"]);
  assert.ok(names({ platform: "linux-x64", tests: true }).includes("geo_other"));
});
