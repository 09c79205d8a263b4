// The built-in pages as the private listener serves them: the same policy, no other host; what they ask is answered by the sample and by the stand-in for analysts.
import assert from "node:assert/strict";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { SITES, answerOutcomes, answerQuery, answerRealtime } from "./analyst.mjs";
import { visit } from "./harness.mjs";

const folder = new URL("../../dashboards/web/", import.meta.url);
export const file = (name) => readFile(new URL(name, folder), "utf8");
export const sample = JSON.parse(await file("overview.sample.json"));

const types = { html: "text/html; charset=utf-8", js: "text/javascript; charset=utf-8", css: "text/css; charset=utf-8", svg: "image/svg+xml", md: "text/plain; charset=utf-8" };
const ofTheApp = Object.fromEntries(["app.js", "app.css", "world.js", "licenses.md"].map((name) => [`/${name}`, `dist/${name}`]));
const names = { "/": "dist/index.html", ...ofTheApp, "/login": "login.html", "/demo": "demo.html", "/demo/articles": "demo.html", "/demo/pricing": "demo.html", "/demo/consent": "demo-consent.html" };
const policy =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

async function textOf(request) {
  let text = "";
  for await (const chunk of request) text += chunk;
  return text;
}

/**
 * Runs `body` with the pages on a free port and a visitor: `{ page, context, origin, state }`.
 *
 * `state.overview` and `state.status` are what the installation check gets; `state.sites` what `/v1/sites` says, nothing for a collector without analysts;
 * `state.refuse(path, question)` may answer `{ status, body }` in place of the stand-in; `state.sent` is what was posted elsewhere, `state.asked` every question.
 */
export async function office(browser, options, body) {
  const state = { overview: structuredClone(sample), status: 200, sites: structuredClone(SITES), sent: [], asked: [], refuse: () => undefined };
  const server = createServer(async (request, response) => {
    const url = new URL(request.url, "http://office");
    const headers = { "Content-Security-Policy": policy, "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store" };
    const json = (status, content) => response.writeHead(status, { ...headers, "Content-Type": "application/json" }).end(JSON.stringify(content));
    const text = request.method === "POST" ? await textOf(request) : "";
    const path = url.pathname.replace(/^\/share\/[^/]+(?=\/v1\/)/, "").replace(/^\/share\/(?=app|world|icon|licenses)/, "/");
    if (path.startsWith("/v1/")) {
      const answered = await state.refuse(path, text && JSON.parse(text));
      if (answered) return json(answered.status, answered.body);
      return answerAnalyst(path, url, text && JSON.parse(text), state, response, json);
    }
    if (request.method === "POST") {
      state.sent.push([path, text]);
      response.writeHead(204).end();
    } else if (path === "/api/overview.json") {
      json(state.status, state.overview);
    } else if (path === "/public/h.js") {
      response.writeHead(200, { ...headers, "Content-Type": types.js }).end(await readFile(new URL("../../collector/snippet/h.min.js", import.meta.url)));
    } else {
      const name = path.startsWith("/share/") ? names["/"] : (names[path] ?? path.slice(1));
      const content = await file(name).catch(() => undefined);
      if (content === undefined) return response.writeHead(404).end();
      response.writeHead(200, { ...headers, "Content-Type": types[name.split(".").pop()] }).end(content.replaceAll("{{script}}", "/public/h.js"));
    }
  });
  server.listen(0);
  await once(server, "listening");
  const visitor = await visit(browser, { colorScheme: "light", ...options });
  try {
    await body({ ...visitor, state, origin: `http://localhost:${server.address().port}` });
    assert.deepEqual(visitor.errors, [], "no error on the page");
    assert.deepEqual(visitor.lines.filter((line) => /Content Security Policy|Refused to/.test(line)), [], "nothing against the policy");
  } finally {
    await visitor.close();
    server.closeAllConnections();
    server.close();
  }
}

function answerAnalyst(path, url, question, state, response, json) {
  if (!state.sites) return json(404, { error: "no_such_path", field: "", allowed: [], message: "There is nothing at this path." });
  state.asked.push([path, question || Object.fromEntries(url.searchParams)]);
  switch (path) {
    case "/v1/sites":
      return json(200, state.sites);
    case "/v1/realtime":
      return json(200, answerRealtime(url.searchParams.get("site")));
    case "/v1/outcomes":
      return json(200, answerOutcomes());
    default: {
      const { status, body, text } = answerQuery(question);
      return text === undefined ? json(status, body) : response.writeHead(200, { "Content-Type": "text/csv" }).end(text);
    }
  }
}

/** Keeps a picture where SCREENSHOTS names a folder. */
export const picture = async (page, name) => process.env.SCREENSHOTS && (await page.screenshot({ path: `${process.env.SCREENSHOTS}/${name}.png`, fullPage: true }));
