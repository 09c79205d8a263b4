// The last thirty minutes of a site, as they pass.

import { follow, link } from "./address.ts";
import { realtime } from "./api.ts";
import type { Realtime as Now, Site } from "./api.ts";
import { useAsked } from "./asked.ts";
import { clockText, numbers } from "./format.ts";
import { Refused } from "./overview/refused.tsx";

const FRESH_SECONDS = 10;
const MINUTE_MILLIS = 60_000;

const useNow = (site: Site) => useAsked<Now>(`realtime ${site.id}`, (signal) => realtime(site.id, signal), FRESH_SECONDS);

export function Realtime({ site }: { site: Site }) {
  const { answer, refusal, again } = useNow(site);
  return (
    <main id="content" class="realtime" aria-label={`${site.id} now`}>
      <section class="card">
        <header><h2>The last 30 minutes</h2>{answer && <p class="quiet">as of {clockText(answer.at, site.timezone)}, the whole site</p>}</header>
        {refusal && !answer ? <Refused refusal={refusal} again={again} /> : <Figures site={site} now={answer} />}
      </section>
      <p class="quiet"><a href={link({ view: "overview", range: "today" })} onClick={follow({ view: "overview", range: "today" })}>All of today</a> with its pages and sources.</p>
    </main>
  );
}

function Figures({ site, now }: { site: Site; now: Now | undefined }) {
  return (
    <>
      <dl class="big" aria-live="polite">
        {site.ids && <div><dt>visitors</dt><dd>{now ? numbers.format(now.visitors) : "–"}</dd></div>}
        <div><dt>page views</dt><dd>{now ? numbers.format(now.pageviews) : "–"}</dd></div>
      </dl>
      <Minutes site={site} now={now} />
      {now && now.pageviews === 0 && <p class="empty">Nobody was here in the last 30 minutes.</p>}
    </>
  );
}

function Minutes({ site, now }: { site: Site; now: Now | undefined }) {
  const minutes = now?.minutes ?? Array.from({ length: 30 }, () => 0);
  const most = Math.max(1, ...minutes);
  const text = (index: number) => clockText((now?.at ?? 0) - (minutes.length - 1 - index) * MINUTE_MILLIS, site.timezone);
  return (
    <figure class="minutes">
      <ol aria-label="Page views a minute, oldest first">
        {minutes.map((count, index) => (
          <li key={index} style={{ "--share": String(count / most) }} title={now ? `${text(index)}: ${numbers.format(count)}` : ""}><span class="unseen">{now ? `${text(index)}: ` : ""}{numbers.format(count)}</span></li>
        ))}
      </ol>
      <figcaption class="quiet"><span>30 minutes ago</span><span>page views a minute</span><span>now</span></figcaption>
    </figure>
  );
}

/** How many are here, beside the other figures. */
export function Pulse({ site }: { site: Site }) {
  const { answer } = useNow(site);
  if (!answer) return null;
  const count = site.ids ? answer.visitors : answer.pageviews;
  const words = site.ids ? (count === 1 ? "visitor" : "visitors") : count === 1 ? "view" : "views";
  return <a class="pulse" data-alive={count > 0} href={link({ view: "realtime" })} onClick={follow({ view: "realtime" })}><b>{numbers.format(count)}</b> {words} in 30 minutes</a>;
}
