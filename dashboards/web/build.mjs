#!/usr/bin/env node
// Builds the dashboard into dist/, from where the collector's build embeds it. Says nothing and takes no time when there is nothing to do.
//
//   node dashboards/web/build.mjs [--install]     --install: fetch the packages alone
//
// What is fetched is what package-lock.json pins with checksums. dist/ is whole when its file `.built` is there, which is written last.

import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const folder = fileURLToPath(new URL(".", import.meta.url));
const packages = join(folder, "node_modules");
const built = join(folder, "dist/.built");
const notSources = ["dist", "node_modules"];

/** When `path`, or anything in it, was last changed. A file that is gone has changed its folder. */
function changed(path) {
  const stat = statSync(path);
  if (!stat.isDirectory()) return stat.mtimeMs;
  const inside = readdirSync(path).filter((name) => !notSources.includes(name));
  // The folder of this file changes with dist/ itself.
  return Math.max(path === folder ? 0 : stat.mtimeMs, ...inside.map((name) => changed(join(path, name))));
}

const isNewer = (file, than) => existsSync(file) && statSync(file).mtimeMs > than;

function run(command, ...words) {
  const { status, stdout, stderr, error } = spawnSync(command, words, { cwd: folder, encoding: "utf8" });
  if (status === 0) return;
  process.stderr.write(`${stdout ?? ""}${stderr ?? ""}${error ?? ""}\nThe dashboard could not be built: ${command} ${words.join(" ")} failed.\n`);
  process.exit(1);
}

// npm writes this file last.
if (!isNewer(join(packages, ".package-lock.json"), changed(join(folder, "package-lock.json")))) {
  process.stderr.write("Fetching what the dashboard is built with (80 MB, once for this clone) ...\n");
  run("npm", "ci", "--silent", "--no-audit", "--no-fund");
}
if (!process.argv.includes("--install") && !isNewer(built, changed(folder))) {
  rmSync(built, { force: true });
  run(process.execPath, join(packages, "vite/bin/vite.js"), "build", "--logLevel", "warn");
  writeFileSync(built, "");
}
