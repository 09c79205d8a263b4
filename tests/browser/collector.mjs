// The collector as an operator runs it: the binary with a data folder of its own, the embedded engine, and what its commands answer.
import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

/** The one that HEADCOUNT_BINARY names, else what `cargo build` leaves. */
const built = (name) => join(process.env.CARGO_TARGET_DIR || fileURLToPath(new URL("../../target", import.meta.url)), "debug", name);
const binary = process.env.HEADCOUNT_BINARY || built("headcount");

/** How long a test waits for what must come, and how often it looks, in milliseconds. */
const patience = 60_000;
const interval = 100;

const run = promisify(execFile);
const rest = (millis) => new Promise((done) => setTimeout(done, millis));

/**
 * Starts a collector on free ports with `config` (TOML; none by default) and waits until it says where it listens. `words` are the command, `serve` by default.
 *
 * With `now`, milliseconds since 1970, its clock stands there until it is moved with `setClock`.
 *
 * `visitors` is where visitors reach it, `operator` the printed link, `office` that link's origin.
 */
export async function startCollector(config = "", now = undefined, words = ["serve"]) {
  const program = now === undefined ? binary : built("staged");
  if (!existsSync(program)) throw new Error(`${program} is not there: run \`cargo build\`, or name a binary with HEADCOUNT_BINARY=...`);
  const folder = await mkdtemp(join(tmpdir(), "headcount-collector-"));
  const data = join(folder, "data");
  const file = join(folder, "headcount.toml");
  if (now !== undefined) config = `data_dir = ${JSON.stringify(data)}\nkey_dir = ${JSON.stringify(join(folder, "keys"))}\n${config}`;
  // Without a configuration it is started as on a first day: with a data folder and nothing else.
  if (config) await writeFile(file, config);
  const places = ["--data-dir", data, "--key-dir", join(folder, "keys"), ...(config ? ["--config", file] : [])];
  const stage = now === undefined ? {} : { HEADCOUNT_STAGE_NOW: String(now) };
  const given = [...places, "--public-listen", "127.0.0.1:0", "--private-listen", "127.0.0.1:0", ...words];
  const child = spawn(program, given, { stdio: ["pipe", "pipe", "pipe"], env: { ...process.env, ...stage } });
  const gone = once(child, "exit");
  // A test that fails before it can stop it leaves none behind.
  process.once("exit", () => child.kill("SIGKILL"));
  const said = [];
  const lines = createInterface({ input: child.stdout });
  createInterface({ input: child.stderr }).on("line", (line) => said.push(line));
  const addresses = {};
  for await (const line of lines) {
    said.push(line);
    const [listener, url] = line.split(/\s+/);
    addresses[listener] = url;
    if (addresses.visitors && addresses.operator) break;
  }
  // The loop above has closed its reader.
  createInterface({ input: child.stdout }).on("line", (line) => said.push(line));
  assert.ok(addresses.operator, `the collector listens; it said:\n${said.join("\n")}`);
  const office = new URL(addresses.operator);

  const collector = {
    data,
    visitors: addresses.visitors,
    operator: addresses.operator,
    office: office.origin,
    said,
    /** Moves the clock of one that was started with `now`, and waits until it says so: what is sent before that is of the day before. */
    async setClock(now) {
      child.stdin.write(`${now}\n`);
      await collector.until("the clock to be moved", () => said.includes(`the clock stands at ${now}`));
    },
    /** What a command of the binary prints, such as `site add example.test`. */
    command: async (...words) => (await run(binary, [...places, ...words])).stdout,
    /** The rows of a statement; numbers of 64 bits are texts. Fails while ClickHouse starts. */
    rows: async (statement) => (await collector.command("sql", "--form", "json", statement)).split("\n").filter(Boolean).map((line) => JSON.parse(line)),
    /** What the first page is made of. */
    async overview() {
      const answer = await fetch(`${office.origin}/api/overview.json`, { headers: { Authorization: `Bearer ${office.searchParams.get("token")}` } });
      return answer.json();
    },
    /** Waits until nothing is in the spool: a day is closed at once then, and in a minute otherwise. */
    drained: () =>
      collector.until("the spool to be empty", async () => {
        const answer = await fetch(`${office.origin}/metrics`, { headers: { Authorization: `Bearer ${office.searchParams.get("token")}` } });
        return /^headcount_spool_bytes 0(\.0)?$/m.test(await answer.text());
      }),
    /** Asks again and again until `ready` gives something true, and gives that. ClickHouse may be away at first; what was wrong last is told at the end. */
    async until(what, ready) {
      let wrong;
      for (const deadline = Date.now() + patience; Date.now() < deadline; await rest(interval)) {
        try {
          const found = await ready();
          if (found) return found;
          wrong = undefined;
        } catch (error) {
          wrong = error;
        }
      }
      throw new Error(`waited in vain for ${what}; the collector said:\n${said.join("\n")}`, { cause: wrong });
    },
    /** `columns` of the rows of a site in the order of time, once there are `count`; more than that are a failure. */
    async rowsOf(site, count, columns) {
      const select = `SELECT ${columns} FROM events WHERE site = '${site}' ORDER BY time`;
      let rows = [];
      const enough = async () => (rows = await collector.rows(select)).length >= count;
      await collector.until(`${count} rows of ${site}`, enough).catch((error) => assert.fail(`${error}: there are ${JSON.stringify(rows, null, 1)}`));
      assert.equal(rows.length, count, JSON.stringify(rows, null, 1));
      return rows;
    },
    /** Ends it as an operator does. */
    async stop() {
      child.kill("SIGTERM");
      const [status] = await gone;
      await rm(folder, { recursive: true, force: true, maxRetries: 5 });
      assert.equal(status, 0, said.join("\n"));
    },
  };
  return collector;
}
