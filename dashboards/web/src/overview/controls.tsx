// What is looked at: the days, what they are compared with, and the filters.

import { useRef, useState } from "preact/hooks";
import { go } from "../address.ts";
import type { Address, Compare } from "../address.ts";
import { isShared } from "../api.ts";
import type { Filter, Site } from "../api.ts";
import { spanText } from "../format.ts";
import { Icon } from "../parts/icon.tsx";
import { singular, valueName } from "./names.ts";
import { PRESETS, custom, hasClosedDays, spanOf, toggled } from "./rules.ts";

interface ControlsProps {
  site: Site;
  address: Address;
}

export function Controls({ site, address }: ControlsProps) {
  return (
    <div class="controls" role="group" aria-label="What is looked at">
      <Filters site={site} address={address} />
      <CompareSwitch address={address} />
      <Period site={site} address={address} />
    </div>
  );
}

const COMPARES: [Compare, string][] = [["previous", "vs previous period"], ["year", "vs a year before"], ["none", "no comparison"]];

function CompareSwitch({ address }: { address: Address }) {
  return (
    <label class="select">
      <span class="unseen">Compare</span>
      <select value={address.compare} onChange={(event) => go({ compare: event.currentTarget.value as Compare })}>
        {COMPARES.map(([compare, words]) => <option key={compare} value={compare}>{words}</option>)}
      </select>
      <Icon name="down" />
    </label>
  );
}

function Period({ site, address }: ControlsProps) {
  const place = useRef<HTMLDivElement>(null);
  const opener = useRef<HTMLButtonElement>(null);
  const span = spanOf(address.range, site.today);
  const preset = PRESETS.filter(([range]) => range === address.range).map(([range, words]) => presetName(range, words))[0];
  const pick = (range: string) => {
    place.current?.hidePopover();
    opener.current?.focus();
    go({ range });
  };
  return (
    <div class="period">
      <button type="button" class="choice" ref={opener} popovertarget="period" aria-haspopup="dialog">
        <Icon name="calendar" />
        <span><b>{preset ?? spanText(span.from, span.to)}</b>{preset && <span class="quiet wide-only"> {spanText(span.from, span.to)}</span>}</span>
        <Icon name="down" />
      </button>
      <div id="period" class="sheet" popover="auto" role="dialog" aria-label="Days" ref={place}>
        <ul>
          {PRESETS.filter(([range]) => !isShared || range !== "yesterday").map(([range, words]) => (
            <li key={range}><button type="button" aria-pressed={range === address.range} onClick={() => pick(range)}>{presetName(range, words)}<span class="quiet">{textOf(range, site)}</span></button></li>
          ))}
        </ul>
        <OwnDays site={site} from={span.from} to={span.to} pick={pick} key={address.range} />
      </div>
    </div>
  );
}

/** By a link, everything ends with the last day that is closed. */
const presetName = (range: string, words: string) => (isShared && range === "today" ? "Last day" : words);

const textOf = (range: string, site: Site) => {
  const { from, to } = spanOf(range, site.today);
  return spanText(from, to);
};

function OwnDays({ site, from: before, to: after, pick }: { site: Site; from: string; to: string; pick: (range: string) => void }) {
  const [from, setFrom] = useState(before);
  const [to, setTo] = useState(after);
  const isRange = custom(`${from}..${to}`) !== undefined && to <= site.today;
  const submit = (event: Event) => {
    event.preventDefault();
    if (isRange) pick(`${from}..${to}`);
  };
  return (
    <form onSubmit={submit}>
      <label>From <input type="date" value={from} max={site.today} required onInput={(event) => setFrom(event.currentTarget.value)} /></label>
      <label>To <input type="date" value={to} max={site.today} required onInput={(event) => setTo(event.currentTarget.value)} /></label>
      <button disabled={!isRange}>Show these days</button>
      {!isRange && <p class="quiet" role="status">The first day is not after the last, and the last not after today.</p>}
    </form>
  );
}

function Filters({ site, address: { filters, range } }: ControlsProps) {
  if (filters.length === 0) return <div class="filters" />;
  return (
    <div class="filters">
      <ul aria-label="Filters">
        {filters.flatMap(({ dimension, is }) => is.map((value) => <Chip key={`${dimension} ${value}`} dimension={dimension} value={value} filters={filters} />))}
      </ul>
      {hasClosedDays(site, spanOf(range, site.today)) && <p class="quiet">One filter at a time{isShared ? "." : ": some of these days are closed."}</p>}
    </div>
  );
}

function Chip({ dimension, value, filters }: { dimension: string; value: string; filters: Filter[] }) {
  const [kind, name] = [singular(dimension), valueName(dimension, value)];
  return (
    <li>
      <span>{kind}</span> <b>{name}</b>
      <button type="button" aria-label={`Remove the filter ${kind} ${name}`} onClick={() => go({ filters: toggled(filters, dimension, value) })}><Icon name="close" /></button>
    </li>
  );
}
