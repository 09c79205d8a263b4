// What is shown is in the address, all of it: an address can be sent to somebody, and the back button works.

import { useEffect, useState } from "preact/hooks";
import type { Filter, Metric } from "./api.ts";

export type View = "overview" | "realtime" | "installation";
export type Compare = "previous" | "year" | "none";

export interface Address {
  /** Unset: whatever has something to show. */
  view: View | undefined;
  site: string | undefined;
  /** `7d` and its like, or `2026-11-01..2026-11-22`. */
  range: string;
  compare: Compare;
  filters: Filter[];
  /** Which figure the chart shows. */
  metric: Metric;
  /** Which tab of which panel is open, where it is not the first. */
  tabs: Record<string, string>;
}

const VIEWS: readonly string[] = ["overview", "realtime", "installation"] satisfies View[];
const COMPARES: readonly string[] = ["previous", "year", "none"] satisfies Compare[];
const FILTER = "is.";
const TAB = "tab.";

export function parse(search: string): Address {
  const parameters = new URLSearchParams(search);
  const oneOf = (name: string, allowed: readonly string[]) => allowed.find((word) => word === parameters.get(name));
  const filters: Filter[] = [];
  const tabs: Record<string, string> = {};
  for (const [name, value] of parameters) {
    if (name.startsWith(TAB)) tabs[name.slice(TAB.length)] = value;
    if (!name.startsWith(FILTER)) continue;
    const dimension = name.slice(FILTER.length);
    const same = filters.find((filter) => filter.dimension === dimension);
    if (same) same.is.push(value);
    else filters.push({ dimension, is: [value] });
  }
  return {
    view: oneOf("view", VIEWS) as View | undefined,
    site: parameters.get("site") ?? undefined,
    range: parameters.get("range") ?? "30d",
    compare: (oneOf("compare", COMPARES) as Compare | undefined) ?? "previous",
    filters,
    metric: (parameters.get("metric") ?? "daily_visitors") as Metric,
    tabs,
  };
}

/** The shortest search that means `address`. */
export function print(address: Address): string {
  const parameters = new URLSearchParams();
  if (address.view) parameters.set("view", address.view);
  if (address.site) parameters.set("site", address.site);
  if (address.range !== "30d") parameters.set("range", address.range);
  if (address.compare !== "previous") parameters.set("compare", address.compare);
  for (const { dimension, is } of address.filters) for (const value of is) parameters.append(FILTER + dimension, value);
  if (address.metric !== "daily_visitors") parameters.set("metric", address.metric);
  for (const [panel, tab] of Object.entries(address.tabs)) parameters.set(TAB + panel, tab);
  const text = parameters.toString();
  return text ? `?${text}` : location.pathname;
}

const changes = new EventTarget();

/** Goes to the address with `change` in it: as a step that the back button takes back, or in place. */
export function go(change: Partial<Address>, how: "step" | "in place" = "step"): void {
  const target = print({ ...parse(location.search), ...change });
  history[how === "step" ? "pushState" : "replaceState"](null, "", target);
  changes.dispatchEvent(new Event("change"));
}

/** Where a link with `change` leads. */
export const link = (change: Partial<Address>) => print({ ...parse(location.search), ...change });

/** A click that changes the address in place; with a key held, the browser does what it does with links. */
export const follow = (change: Partial<Address>) => (event: MouseEvent) => {
  if (event.metaKey || event.ctrlKey || event.shiftKey || event.button !== 0) return;
  event.preventDefault();
  go(change);
};

export function useAddress(): Address {
  const [address, setAddress] = useState(() => parse(location.search));
  useEffect(() => {
    const update = () => setAddress(parse(location.search));
    addEventListener("popstate", update);
    changes.addEventListener("change", update);
    return () => {
      removeEventListener("popstate", update);
      changes.removeEventListener("change", update);
    };
  }, []);
  return address;
}
