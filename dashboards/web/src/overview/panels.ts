// The panels of the overview: what each tab asks.

import type { Metric, Question, Site } from "../api.ts";
import type { Address } from "../address.ts";
import { common, spanOf, toldBy } from "./rules.ts";

export interface Tab {
  dimension: string;
  name: string;
  metrics: Metric[];
  /** Whether its rows can be filtered by. */
  filters: boolean;
}
export interface Panel {
  id: string;
  title: string;
  tabs: Tab[];
}

const ROWS_AT_FIRST = 9;
const ROWS_WITH_MORE = 100;
const ROWS_OF_A_FILE = 10_000;

export function panels(site: Site): Panel[] {
  // Without ids nobody is told apart.
  const told = (metrics: Metric[]) => (site.ids ? metrics : metrics.filter((metric) => metric !== "daily_visitors"));
  const tab = (dimension: string, name: string, ...metrics: Metric[]): Tab => ({ dimension, name, metrics: told(metrics), filters: true });
  const audience = (dimension: string, name: string) => tab(dimension, name, "daily_visitors", "visits");
  const visits = (dimension: string, name: string) => tab(dimension, name, "visits", "bounce_rate");
  const actions = [tab("event", "Events", "daily_visitors", "events")];
  if (site.properties.length) actions.push({ ...tab("event_property", "Properties", "daily_visitors", "events"), filters: false });
  if (site.goals.length) actions.unshift({ ...tab("goal", "Goals", "conversions", "conversion_rate"), filters: false });
  return [
    { id: "pages", title: "Pages", tabs: [tab("page", "All", "daily_visitors", "pageviews"), ...(site.ids ? [visits("entry_page", "Entry"), visits("exit_page", "Exit")] : [])] },
    { id: "sources", title: "Sources", tabs: [audience("channel", "Channels"), audience("source", "Sources"), audience("utm_campaign", "Campaigns")] },
    { id: "countries", title: "Countries", tabs: [audience("country", "Countries")] },
    { id: "devices", title: "Devices", tabs: [audience("device", "Devices"), audience("browser", "Browsers"), audience("os", "Systems"), audience("screen", "Screens")] },
    { id: "events", title: "Actions", tabs: actions },
  ];
}

/** The map colours every country, so its list is whole from the start. */
export function panelQuestion(site: Site, address: Address, panel: Panel, tab: Tab, more: boolean): Question {
  const limit = more || panel.id === "countries" ? ROWS_WITH_MORE : ROWS_AT_FIRST;
  const metrics = toldBy(site, spanOf(address.range, site.today), address.filters, tab.metrics);
  return { ...common(site, address), metrics, dimensions: [tab.dimension], order: { by: metrics[0]!, descending: true }, limit };
}

export const fileQuestion = (question: Question): Question => ({ ...question, limit: ROWS_OF_A_FILE });
export const rowsAtFirst = ROWS_AT_FIRST;
