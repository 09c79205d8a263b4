// Runs every test of the project, a few programs side by side: most of what a test of the whole system does is waiting, for an engine that starts, a disk
// that is slow, a browser. `cargo test` and `node --test` run the same programs one after another.
//
//   node tests/run.mjs                  everything
//   node tests/run.mjs closing visits   the programs that have one of these words in their name
//
// A program that passes is one line, with what it skipped below; of one that fails everything is printed.

import { execFileSync, spawn } from "node:child_process";
import { availableParallelism } from "node:os";
import { basename, dirname, join } from "node:path";
import { performance } from "node:perf_hooks";
import { createInterface } from "node:readline";

const ROOT = dirname(import.meta.dirname);
const CARGO = process.env.CARGO ?? "cargo";

// As many as there are cores: with one more, what a test waits for came late now and then.
const AT_ONCE = availableParallelism();

// What takes longest, begun first in this order, so that the end is not one program alone. The collector that plants leaks is built before those that need it.
const BEGUN_FIRST = ["build of leaky", "budget", "headcount", "leaks of the crates", "demo.test.mjs", "tools", "dashboard_live.test.mjs", "closing", "figures"];

// The programs of Rust's tests, built, and the binaries that they start: at once, so that all have the same dependencies. Cargo says what it compiles on the
// error stream.
async function rustPrograms() {
  const build = ["build", "--workspace", "--locked", "--bins", "--tests", "--message-format=json-render-diagnostics"];
  const cargo = spawn(CARGO, build, { cwd: ROOT, stdio: ["ignore", "pipe", "inherit"] });
  const ended = new Promise((resolve, reject) => cargo.on("error", reject).on("close", resolve));
  const programs = [];
  for await (const line of createInterface({ input: cargo.stdout })) {
    const message = JSON.parse(line);
    if (message.reason !== "compiler-artifact" || !message.profile.test || !message.executable) continue;
    programs.push({ name: message.target.name, command: [message.executable], folder: dirname(message.manifest_path), says: /^test result: ok\. (\d+) passed/m });
  }
  if ((await ended) !== 0) process.exit(1);
  return programs;
}

// What is tested in another way: the samples in the documentation, and what runs in a browser or in Node.
function otherPrograms() {
  const files = execFileSync("git", ["ls-files", "collector/*.test.mjs", "tests/*.test.mjs"], { cwd: ROOT, encoding: "utf8" }).trim().split("\n");
  const scripts = files.map((file) => ({
    name: basename(file),
    command: [process.execPath, "--test", "--test-reporter=tap", file],
    folder: ROOT,
    says: /^# pass (\d+)/m,
  }));
  const samples = { name: "samples", command: [CARGO, "test", "--workspace", "--locked", "--doc"], folder: ROOT, says: /^test result: ok\. (\d+) passed/m };
  // The controls of the crates' own tests. Of the workspace, so that all have the dependencies that are built already.
  const leaks = {
    name: "leaks of the crates",
    command: [CARGO, "test", "--workspace", "--locked", "--lib", "--features", "headcount-tests/leaky", "leak::"],
    folder: ROOT,
    says: /^test leak::tests::every_\S+ \.\.\. (ok)$/m,
  };
  const leaky = ["build", "--quiet", "--locked", "-p", "headcount-tests", "--bin", "leaky", "--features", "leaky,tested"];
  return [...scripts, samples, leaks, { name: "build of leaky", command: [CARGO, ...leaky], folder: join(ROOT, "tests"), says: null }];
}

// Runs one to its end. It has passed when it says so and ends well: a program that leaves early says nothing.
async function run({ name, command: [program, ...args], folder, says }) {
  const began = performance.now();
  const child = spawn(program, args, { cwd: folder, stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding("utf8").on("data", (text) => (output += text));
  const status = await new Promise((resolve) => child.on("error", (error) => resolve(String(error))).on("close", (code, signal) => resolve(code ?? signal)));
  const seconds = ((performance.now() - began) / 1000).toFixed(1).padStart(6);
  const passed = says ? output.match(says)?.[1] : "";
  const isGood = status === 0 && passed !== undefined;
  console.log(isGood ? `ok     ${seconds} s  ${name}${passed && `: ${passed}`}` : `FAILED ${seconds} s  ${name}, which ended with ${status}\n${output}`);
  if (isGood) for (const line of output.split("\n")) if (/SKIPPED|# SKIP/.test(line)) console.log(`       ${line.trim()}`);
  return isGood;
}

const wanted = process.argv.slice(2);
const rank = ({ name }) => (BEGUN_FIRST.includes(name) ? BEGUN_FIRST.indexOf(name) : BEGUN_FIRST.length);
const waiting = [...(await rustPrograms()), ...otherPrograms()]
  .filter(({ name }) => wanted.length === 0 || wanted.some((word) => name.includes(word)))
  .sort((one, other) => rank(one) - rank(other));
const count = waiting.length;
const failed = [];
async function runInTurn() {
  for (let next = waiting.shift(); next; next = waiting.shift()) if (!(await run(next))) failed.push(next.name);
}
const began = performance.now();
await Promise.all(Array.from({ length: AT_ONCE }, runInTurn));
console.log(`${count} programs, ${failed.length} failed, in ${Math.round((performance.now() - began) / 1000)} s${failed.map((name) => `\n  FAILED ${name}`).join("")}`);
process.exit(failed.length > 0 || count === 0 ? 1 : 0);
