// A panel: tabs, the values of one dimension with their figures, what is folded, and a file of it.

import { useState } from "preact/hooks";
import { go } from "../address.ts";
import type { Address } from "../address.ts";
import { csv, query } from "../api.ts";
import type { Answer, Column, Question, Site } from "../api.ts";
import { useAsked } from "../asked.ts";
import type { Asked } from "../asked.ts";
import { figure } from "../format.ts";
import { Icon } from "../parts/icon.tsx";
import { Tabs } from "../parts/tabs.tsx";
import { FRESH_SECONDS } from "./figures.tsx";
import { Funnels } from "./funnel.tsx";
import { METRICS, OTHER, noteText, singular, valueName } from "./names.ts";
import { fileQuestion, panelQuestion, rowsAtFirst } from "./panels.ts";
import type { Panel, Tab } from "./panels.ts";
import { Refused } from "./refused.tsx";
import { spanOf, toggled, whyNoFilter, whyNotShown } from "./rules.ts";
import { World } from "./world.tsx";

interface PanelProps {
  site: Site;
  address: Address;
  panel: Panel;
}

export function PanelCard({ site, address, panel }: PanelProps) {
  const [more, setMore] = useState(false);
  const tab = panel.tabs.find(({ dimension }) => dimension === address.tabs[panel.id]) ?? panel.tabs[0]!;
  const span = spanOf(address.range, site.today);
  const why = whyNotShown(site, span, address.filters, tab.dimension);
  const question = panelQuestion(site, address, panel, tab, more);
  const asked = useAsked(why || tab.declare ? undefined : JSON.stringify(question), (signal) => query(question, signal), span.to === site.today ? FRESH_SECONDS : undefined);
  const pick = (dimension: string) => {
    setMore(false);
    const { [panel.id]: _, ...tabs } = address.tabs;
    go({ tabs: dimension === panel.tabs[0]!.dimension ? tabs : { ...tabs, [panel.id]: dimension } }, "in place");
  };
  return (
    <section class={`card panel ${panel.id}`} aria-labelledby={`panel-${panel.id}`} aria-busy={asked.waiting}>
      <header>
        <h2 id={`panel-${panel.id}`}>{panel.title}</h2>
        {panel.tabs.length > 1 && <Tabs label={panel.title} id={panel.id} tabs={panel.tabs.map(({ dimension, name }) => [dimension, name])} picked={tab.dimension} pick={pick} />}
        <FileButton question={question} name={`${site.id} ${panel.title} ${tab.name} ${span.from} ${span.to}`} disabled={Boolean(why || tab.declare) || !asked.answer?.rows.length} />
      </header>
      <div id={`${panel.id}-content`} class="content" {...(panel.tabs.length > 1 ? { role: "tabpanel", "aria-labelledby": `${panel.id}-${tab.dimension}` } : {})}>
        {tab.declare ? <Declare tab={tab} site={site} /> : why ? <p class="empty" data-why="not-kept">{why}</p> : <Values asked={asked} site={site} address={address} panel={panel} tab={tab} more={more} showMore={() => setMore(true)} />}
      </div>
    </section>
  );
}

/** How a goal and its like is declared, where the site has none. */
function Declare({ tab, site }: { tab: Tab; site: Site }) {
  return (
    <div class="declare">
      <p>{site.id} has declared no {tab.name.toLowerCase()} yet. In its <code>[[site]]</code> of the configuration:</p>
      <pre tabIndex={0} aria-label="Example">{tab.declare}</pre>
      <p>They count from the day on which you declare them.</p>
    </div>
  );
}

/** Notes that a panel tells; the others are told elsewhere. */
const TOLD = ["folded", "rounded_pairs", "small_left_out", "counts_since_declared", "conversions_are_events"];

interface ValuesProps extends PanelProps {
  asked: Asked<Answer>;
  tab: Tab;
  more: boolean;
  showMore: () => void;
}

function Values({ asked, site, address, panel, tab, more, showMore }: ValuesProps) {
  const { refusal, again } = asked;
  // The rows of another tab are no rows of this one.
  const answer = asked.answer?.columns.some(({ name }) => name === tab.dimension) ? asked.answer : undefined;
  if (refusal && !answer) return <Refused refusal={refusal} again={again} />;
  if (!answer) return <Ghosts />;
  if (answer.rows.length === 0) return <p class="empty">{address.filters.length ? "Nothing of this under the filter, in these days." : "Nothing in these days."}</p>;
  const isWorld = panel.id === "countries";
  const pending = answer.notes.filter((note) => TOLD.includes(note));
  // What is left out is in no “Other”.
  const isLeftOut = pending.includes("small_left_out");
  const notes = (isLeftOut ? pending.filter((note) => note !== "folded") : answer.folded && !pending.includes("folded") ? ["folded", ...pending] : pending).flatMap((note) => noteText(note, site) ?? []);
  return (
    <>
      {isWorld && <World answer={answer} pick={picker(site, address, tab)} />}
      <div class={more || isWorld ? "scroll long" : "scroll"} {...(more || isWorld ? { tabIndex: 0, role: "region", "aria-label": `All ${panel.title.toLowerCase()}` } : {})}>
        {tab.dimension === "funnel" ? <Funnels answer={answer} site={site} /> : <Table answer={answer} site={site} address={address} tab={tab} />}
      </div>
      <footer>
        <div>{notes.map(({ short, long }) => <p class="note" key={short} title={long}><Icon name="info" />{short}<span class="unseen">. {long}</span></p>)}</div>
        {answer.next_offset !== null && !more && !isWorld && tab.dimension !== "funnel" && answer.rows.length >= rowsAtFirst && <button type="button" class="plain small" onClick={showMore}>Show more</button>}
      </footer>
    </>
  );
}

/** What a click on a value does, or why nothing. */
function picker(site: Site, address: Address, tab: Tab): { pick: (value: string) => void; why: string | undefined } {
  const span = spanOf(address.range, site.today);
  const why = tab.filters ? whyNoFilter(site, span, address.filters, tab.dimension) : "";
  return { why, pick: (value) => why === undefined && go({ filters: toggled(address.filters, tab.dimension, value) }) };
}

interface TableProps {
  answer: Answer;
  site: Site;
  address: Address;
  tab: Tab;
}

function Table({ answer, site, address, tab }: TableProps) {
  const place = answer.columns.findIndex(({ name }) => name === tab.dimension);
  const columns = answer.columns.map((column, index) => ({ column, index })).filter(({ column }) => column.kind === "metric");
  const first = columns[0];
  const rows = answer.rows.filter((row) => row[place] !== tab.hides);
  const most = Math.max(1, ...rows.map((row) => Number(row[first?.index ?? 0] ?? 0)));
  const { pick, why } = picker(site, address, tab);
  const picked = address.filters.find(({ dimension }) => dimension === tab.dimension)?.is ?? [];
  return (
    <table class="values">
      <thead>
        <tr>
          <th scope="col">{singular(tab.dimension)}</th>
          {columns.map(({ column }) => <MetricHead key={column.name} column={column} />)}
        </tr>
      </thead>
      <tbody>
        {rows.map((row) => {
          const value = String(row[place] ?? "");
          const name = valueName(tab.dimension, value);
          const share = Number(row[first?.index ?? 0] ?? 0) / most;
          return (
            <tr key={value} style={{ "--share": String(share) }} class={value === OTHER ? "other" : picked.includes(value) ? "picked" : ""}>
              <th scope="row">
                {value === OTHER || !tab.filters ? (
                  <span class="value" title={name}>{name}</span>
                ) : (
                  <button type="button" class="value" title={why ?? name} aria-disabled={why !== undefined} aria-pressed={picked.includes(value)} aria-label={why ? `${name}. ${why}` : undefined} onClick={() => pick(value)}>{name}</button>
                )}
              </th>
              {columns.map(({ column, index }) => <td key={column.name}>{figure(row[index], column.unit)}</td>)}
            </tr>
          );
        })}
      </tbody>
    </table>
  );
}

function MetricHead({ column }: { column: Column }) {
  const words = METRICS[column.name as keyof typeof METRICS];
  return <th scope="col" title={column.counted ?? words?.long}>{words?.short ?? column.name}</th>;
}

function Ghosts() {
  return (
    <div class="ghosts" role="status">
      <span class="unseen">Loading</span>
      {Array.from({ length: rowsAtFirst }, (_, index) => <div class="ghost" key={index} style={{ "--share": String(1 - index / (rowsAtFirst + 3)) }} />)}
    </div>
  );
}

function FileButton({ question, name, disabled }: { question: Question; name: string; disabled: boolean }) {
  const [failed, setFailed] = useState("");
  const save = async () => {
    try {
      setFailed("");
      const link = document.createElement("a");
      link.href = URL.createObjectURL(await csv(fileQuestion(question)));
      link.download = `${name.toLowerCase().replace(/[^a-z0-9.-]+/g, "-")}.csv`;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
    } catch (error) {
      setFailed(error instanceof Error ? error.message : "It could not be saved.");
    }
  };
  const words = failed || "Save as CSV";
  return (
    <button type="button" class={failed ? "icon small failed" : "icon small"} aria-label={words} title={words} disabled={disabled} onClick={save}>
      <Icon name="download" />
    </button>
  );
}
