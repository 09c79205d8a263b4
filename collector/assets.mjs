#!/usr/bin/env node
// Fetches the pinned packages of assets.json into the user's cache, where all clones of Headcount share them.
//
//   node collector/assets.mjs [--tests]        fetch what is missing (--tests: also what only tests read)
//   HEADCOUNT_ASSETS=DIR                       use DIR instead of ${XDG_CACHE_HOME:-~/.cache}/headcount
//
// A package becomes visible by one rename, after its checksum was compared and its files were unpacked: what exists is complete. Whatever an
// interrupted run left lies in a folder named `.partial-<process>-...` and is removed by the next run once that process is gone. Two runs
// side by side may both download; the first rename wins and both succeed.

import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { createReadStream, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, renameSync, rmSync, statSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { fileURLToPath } from "node:url";

const LARGE_BYTES = 20e6;

/** The folder that all packages lie in. */
export function cacheFolder(environment = process.env) {
  if (environment.HEADCOUNT_ASSETS) return environment.HEADCOUNT_ASSETS;
  return join(environment.XDG_CACHE_HOME || join(homedir(), ".cache"), "headcount");
}

/** The folder of one package: `@scope/name` 1.2 lies in `@scope-name-1.2`. */
export function packageFolder(cache, asset) {
  return join(cache, `${asset.name.replaceAll("/", "-")}-${asset.version}`);
}

/** The pins that this machine needs. */
export function wanted(assets, { tests = false, platform = `${process.platform}-${process.arch}` } = {}) {
  const here = assets.filter((asset) => !asset.platform || asset.platform === platform);
  if (!here.some((asset) => asset.asset === "engine")) {
    process.stderr.write(`assets: no embedded ClickHouse is pinned for ${platform}: set [clickhouse] url to use a server\n`);
  }
  return here.filter((asset) => tests || !asset.tests);
}

/** Fetches every asset that is not there yet. `pack(asset, folder)` puts the tarball into `folder` and returns its path. */
export async function fetchAll(assets, cache, { pack = npmPack, out = process.stderr } = {}) {
  const missing = assets.filter((asset) => !existsSync(packageFolder(cache, asset)));
  if (missing.length === 0) return;
  mkdirSync(cache, { recursive: true });
  removeLeftovers(cache);
  for (const asset of missing) await fetchOne(asset, cache, pack, out);
}

async function fetchOne(asset, cache, pack, out) {
  const partial = mkdtempSync(join(cache, `.partial-${process.pid}-`));
  try {
    const progress = watch(asset, partial, out);
    let tarball;
    try {
      tarball = await pack(asset, partial);
    } finally {
      progress.stop();
    }
    const integrity = await sha512(tarball);
    if (integrity !== asset.integrity) {
      throw new Error(`the checksum of ${asset.name} ${asset.version} is ${integrity}, and ${asset.integrity} is pinned: it is not what was reviewed`);
    }
    const files = join(partial, "files");
    mkdirSync(files);
    await run("tar", ["-xzf", tarball, "-C", files, "--strip-components=1", "--no-same-owner", ...asset.files.map((file) => `package/${file}`)]);
    try {
      renameSync(files, packageFolder(cache, asset));
    } catch (error) {
      // Another run was first, with the same pin and so with the same files.
      if (!["ENOTEMPTY", "EEXIST"].includes(error.code)) throw error;
    }
    progress.done();
  } finally {
    rmSync(partial, { recursive: true, force: true });
  }
}

/** Removes the folders of runs that are gone. */
function removeLeftovers(cache) {
  for (const name of readdirSync(cache)) {
    const owner = /^\.partial-(\d+)-/.exec(name)?.[1];
    if (owner && !isRunning(Number(owner))) rmSync(join(cache, name), { recursive: true, force: true });
  }
}

function isRunning(process_id) {
  try {
    process.kill(process_id, 0);
    return true;
  } catch (error) {
    return error.code === "EPERM";
  }
}

/** npm knows the operator's registry, mirror and proxy, so it does the download. */
async function npmPack(asset, folder) {
  const cache = join(folder, "npm"); // Of our own, so that the bytes on the disk are this download's, and nothing stays behind.
  await run("npm", ["pack", `${asset.name}@${asset.version}`, "--pack-destination", folder, "--cache", cache, "--loglevel", "error", "--ignore-scripts"]);
  const tarball = readdirSync(folder).find((name) => name.endsWith(".tgz"));
  if (!tarball) throw new Error(`npm pack left no tarball of ${asset.name} ${asset.version}`);
  return join(folder, tarball);
}

function run(command, parameters) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, parameters, { stdio: ["ignore", "pipe", "pipe"] });
    let complaints = "";
    child.stdout.resume();
    child.stderr.on("data", (text) => (complaints = (complaints + text).slice(-2000)));
    child.on("error", (error) => reject(new Error(`cannot start ${command}: ${error.message}`)));
    child.on("close", (status, signal) => {
      if (status === 0) resolve();
      else reject(new Error(`${command} ${parameters[0]} ended with ${signal ?? `status ${status}`}\n${complaints.trim()}`));
    });
  });
}

async function sha512(path) {
  const hash = createHash("sha512");
  await pipeline(createReadStream(path), hash);
  return `sha512-${hash.digest("base64")}`;
}

/** Tells how far a download is: one line that is redrawn on a terminal, a line every quarter elsewhere. Small packages are not worth it. */
function watch(asset, folder, out) {
  const title = `${asset.name} ${asset.version}`;
  if (asset.bytes < LARGE_BYTES) return { stop() {}, done: () => out.write(`assets: ${title}\n`) };
  const total = Math.ceil(asset.bytes / 1e6);
  let quarter = 0;
  const show = () => {
    const bytes = Math.min(largestFile(folder), asset.bytes);
    const line = `assets: ${title}: ${Math.floor(bytes / 1e6)} of ${total} MB`;
    if (out.isTTY) out.write(`\r${line}`);
    else if (bytes >= (asset.bytes * quarter) / 4) {
      out.write(`${line}\n`);
      quarter = Math.floor((4 * bytes) / asset.bytes) + 1;
    }
  };
  show();
  const timer = setInterval(show, 500);
  const end = out.isTTY ? "\n" : "";
  return { stop: () => (clearInterval(timer), out.write(end)), done: () => out.write(`assets: ${title}: verified and unpacked\n`) };
}

/** npm writes the download into its cache first and copies it then: the largest file is how far it is. */
function largestFile(folder) {
  let largest = 0;
  for (const entry of readdirSync(folder, { withFileTypes: true, recursive: true })) {
    if (!entry.isFile()) continue;
    try {
      largest = Math.max(largest, statSync(join(entry.parentPath ?? entry.path, entry.name)).size);
    } catch {
      // npm moved it meanwhile.
    }
  }
  return largest;
}

async function main() {
  const { assets } = JSON.parse(readFileSync(new URL("assets.json", import.meta.url), "utf8"));
  const cache = cacheFolder();
  await fetchAll(wanted(assets, { tests: process.argv.includes("--tests") }), cache);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  main().catch((error) => {
    process.stderr.write(`assets: ${error.message}\n`);
    process.exitCode = 1;
  });
}
