// The installation check: per site its tag, what arrived in the last ten minutes, and why events were not counted.

import { useRef, useState } from "preact/hooks";
import { numbers } from "../format.ts";
import type { Asked } from "../asked.ts";
import { isDemonstration, lines, notices, shown, verdict } from "./overview.ts";
import type { Overview, SiteOverview } from "./overview.ts";

export function Installation({ asked: { answer } }: { asked: Asked<Overview> }) {
  const { first, sites } = answer ? shown(answer.sites) : { first: false, sites: [] };
  return (
    <>
      <div aria-live="polite">
        {answer && notices(answer).map(([title, text]) => <p class="notice" key={title}><strong>{title}</strong><span>{text}</span></p>)}
      </div>
      <main id="content" aria-label="Installation">
        {sites.map((site, index) => <Card key={site.site} site={site} id={`site-${index}`} />)}
        {first && <FirstSite />}
      </main>
    </>
  );
}

function Card({ site, id }: { site: SiteOverview; id: string }) {
  const [state, words] = verdict(site.check);
  const figure = (name: "views" | "visitors" | "events") => (site.today ? numbers.format(site.today[name]) : "–");
  return (
    <section class="card" data-site={site.site} aria-labelledby={id}>
      <header>
        <h2 id={id}>{site.site}</h2>
        <span class="quiet">{site.timezone}</span>
        <p class={`check ${state}`}>{words}</p>
      </header>
      <h3 class="today">Today</h3>
      <dl class="totals">
        <div><dt>page views</dt><dd>{figure("views")}</dd></div>
        <div><dt>visitors</dt><dd>{figure("visitors")}</dd></div>
        <div><dt>custom events</dt><dd>{figure("events")}</dd></div>
      </dl>
      <div class="recent">
        <h3>Last 10 minutes</h3>
        <ul class="rows">
          {lines(site.check).map(({ kind, count, what, why }) => (
            <li class={kind} key={what}>
              <span class="count">{numbers.format(count)}</span>
              <span><span class="what">{what}</span> <span class="why">{why}</span></span>
            </li>
          ))}
        </ul>
      </div>
      {isDemonstration(site) ? <Demonstration /> : <Tag site={site} />}
    </section>
  );
}

function Demonstration() {
  return (
    <p class="demonstration">
      <a class="button" href="/demo">Open the demonstration</a> <span class="quiet">A small site with the tag in it: what you do there is counted here.</span>
    </p>
  );
}

function Tag({ site: { snippet, check } }: { site: SiteOverview }) {
  // Open for whoever has still to paste it; after that it is the reader's.
  const [open] = useState(check.last_event_seconds === null);
  return (
    <details open={open}>
      <summary>The tag for this site</summary>
      <Copyable text={snippet ?? ""} />
      <p class="quiet">
        Put it into the head of every page. Open a page with <code>?headcount=debug</code> at the end of its address, and the browser's console says whether it was sent.
      </p>
    </details>
  );
}

function Copyable({ text }: { text: string }) {
  const [label, setLabel] = useState("Copy");
  const place = useRef<HTMLPreElement>(null);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      setLabel("Copied");
    } catch {
      // No clipboard without HTTPS or localhost: select it for the reader.
      if (place.current) getSelection()?.selectAllChildren(place.current);
      setLabel("Selected");
    }
    setTimeout(() => setLabel("Copy"), 2_000);
  };
  return (
    <div class="snippet">
      <pre ref={place}>{text}</pre>
      <button type="button" onClick={copy}>{label}</button>
    </div>
  );
}

function FirstSite() {
  return (
    <section class="card">
      <h2>Count a site of your own</h2>
      <p class="lead">Add it in a terminal; its tag is printed, and this page shows whether it works.</p>
      <pre>headcount site add example.org</pre>
    </section>
  );
}
