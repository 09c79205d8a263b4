// The panels of the overview: what each tab asks.

import { isShared } from "../api.ts";
import type { Metric, Question, Site } from "../api.ts";
import type { Address } from "../address.ts";
import { common, spanOf, toldBy } from "./rules.ts";

export interface Tab {
  dimension: string;
  name: string;
  metrics: Metric[];
  /** Whether its rows can be filtered by. */
  filters: boolean;
  /** What stands there while the site has declared none: how to. */
  declare?: string;
  /** A value that answers another question than the panel's, and is left out. */
  hides?: string;
}
export interface Panel {
  id: string;
  title: string;
  tabs: Tab[];
}

/** How each is declared, in the site's part of the configuration. */
const DECLARE = {
  goal: `[[site.goal]]\nname = "Signed up"\nevent = "signup"`,
  funnel: `[[site.funnel]]\nname = "Buying"\nsteps = [{ page = "/cart" }, { event = "purchase" }]`,
  property: `properties = ["plan"]`,
};

const ROWS_AT_FIRST = 9;
const ROWS_WITH_MORE = 100;
const ROWS_OF_A_FILE = 10_000;

/** The channel of steps within the site: nobody comes by it, and no visit begins with it. */
const WITHIN = "internal";

export function panels(site: Site): Panel[] {
  // Without ids nobody is told apart.
  const told = (metrics: Metric[]) => (site.ids ? metrics : metrics.filter((metric) => metric !== "daily_visitors"));
  const tab = (dimension: string, name: string, ...metrics: Metric[]): Tab => ({ dimension, name, metrics: told(metrics), filters: true });
  const audience = (dimension: string, name: string) => tab(dimension, name, "daily_visitors", "visits");
  const visits = (dimension: string, name: string) => tab(dimension, name, "visits", "bounce_rate");
  const rates = (dimension: string, name: string, declare: string | undefined): Tab => ({ dimension, name, metrics: ["conversions", "conversion_rate"], filters: site.ids, ...(declare ? { declare } : {}) });
  const actions = [
    rates("goal", "Goals", site.goals.length ? undefined : DECLARE.goal),
    ...(site.ids ? [rates("funnel", "Funnels", site.funnels.length ? undefined : DECLARE.funnel)] : []),
    tab("event", "Events", "daily_visitors", "events"),
    { ...tab("event_property", "Properties", "daily_visitors", "events"), ...(site.properties.length ? {} : { declare: DECLARE.property }) },
  ];
  // What is declared comes first; whoever follows a share link cannot declare anything.
  const shown = isShared ? actions.filter((tab) => !tab.declare) : actions.sort((one, other) => Number(Boolean(one.declare)) - Number(Boolean(other.declare)));
  return [
    { id: "pages", title: "Pages", tabs: [tab("page", "All", "daily_visitors", "pageviews"), ...(site.ids ? [visits("entry_page", "Entry"), visits("exit_page", "Exit")] : [])] },
    { id: "sources", title: "Sources", tabs: [{ ...audience("channel", "Channels"), hides: WITHIN }, audience("source", "Sources"), audience("utm_campaign", "Campaigns")] },
    { id: "countries", title: "Countries", tabs: [audience("country", "Countries")] },
    { id: "devices", title: "Devices", tabs: [audience("device", "Devices"), audience("browser", "Browsers"), audience("os", "Systems"), audience("screen", "Screens")] },
    { id: "events", title: "Actions", tabs: shown },
  ];
}

/** The map colours every country, so its list is whole from the start. */
export function panelQuestion(site: Site, address: Address, panel: Panel, tab: Tab, more: boolean): Question {
  // A funnel is looked at as a whole.
  const isWhole = panel.id === "countries" || tab.dimension === "funnel";
  const limit = more || isWhole ? ROWS_WITH_MORE * (tab.dimension === "funnel" ? 2 : 1) : ROWS_AT_FIRST;
  const metrics = toldBy(site, spanOf(address.range, site.today), address.filters, tab.metrics);
  return { ...common(site, address), metrics, dimensions: [tab.dimension], order: { by: metrics[0]!, descending: true }, limit };
}

export const fileQuestion = (question: Question): Question => ({ ...question, limit: ROWS_OF_A_FILE });
export const rowsAtFirst = ROWS_AT_FIRST;
