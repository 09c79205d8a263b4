// Runs the browser tests: `node run.mjs [file ...]`. Installs what they need first, once; quiet when it is there.
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";

const here = fileURLToPath(new URL(".", import.meta.url));
const snippet = fileURLToPath(new URL("../../collector/snippet/", import.meta.url));

function run(command, args, cwd) {
  const { status, error } = spawnSync(command, args, { cwd, stdio: "inherit" });
  if (error) console.error(error.message);
  if (status !== 0) process.exit(status ?? 1);
}

/** `npm ci` where the installed packages are not those of the lock file. */
function install(folder) {
  const locked = JSON.parse(readFileSync(`${folder}package-lock.json`, "utf8")).packages;
  const installed = (path) => existsSync(`${folder}${path}/package.json`) && JSON.parse(readFileSync(`${folder}${path}/package.json`, "utf8")).version;
  const missing = Object.entries(locked).some(([path, { version, optional }]) => path && !optional && installed(path) !== version);
  if (missing) run("npm", ["ci", "--silent", "--no-audit", "--no-fund"], folder);
}

const chromium = process.env.CHROMIUM || "/usr/bin/chromium";
if (!existsSync(chromium)) {
  console.error(`The browser tests need Chromium: ${chromium} is not there. Name another with CHROMIUM=...`);
  process.exit(1);
}
install(snippet);
install(here);
run("node", ["--test", "build.test.mjs"], snippet);
const files = process.argv.slice(2);
run("node", ["--test", "--test-concurrency=1", ...(files.length ? files : readdirSync(here).filter((name) => name.endsWith(".test.mjs")))], here);
