// The application: which view is shown, of which site.

import { render } from "preact";
import { useEffect, useState } from "preact/hooks";
import { useAddress } from "./address.ts";
import type { Address, View } from "./address.ts";
import { isShared, overview, sites as askSites } from "./api.ts";
import type { Sites } from "./api.ts";
import { useAsked } from "./asked.ts";
import type { Asked } from "./asked.ts";
import { promise } from "./install/overview.ts";
import type { Overview as InstallationOverview } from "./install/overview.ts";
import { Installation } from "./install/view.tsx";
import { Overview } from "./overview/view.tsx";
import { Frame } from "./parts/frame.tsx";
import { applyTheme } from "./parts/theme.ts";
import { Realtime } from "./realtime.tsx";
import "../style.css";
import "./parts/frame.css";
import "./install/install.css";
import "./overview/overview.css";
import "./overview/world.css";
import "./overview/panels.css";
import "./overview/funnel.css";
import "./realtime.css";

const INSTALLATION_SECONDS = 5;
/** Sites are added, and days begin. */
const SITES_SECONDS = 300;

function App() {
  const address = useAddress();
  const asked = useAsked<Sites>("sites", askSites, SITES_SECONDS);
  const view = viewOf(address, asked);
  const site = asked.answer?.sites.find(({ id }) => id === address.site) ?? asked.answer?.sites[0];
  useEffect(() => {
    document.title = view === "installation" || !site ? "Headcount" : `${site.id} · Headcount`;
  }, [view, site?.id]);
  if (view === undefined || (view !== "installation" && !site)) return <Nothing asked={asked} />;
  if (view === "installation") return <InstallationFrame sites={asked.answer} />;
  return (
    <Frame view={view} sites={asked.answer} site={site} state={asked.refusal?.message ?? ""} promise={PROMISE}>
      {view === "realtime" ? <Realtime site={site!} /> : <Overview site={site!} address={address} />}
    </Frame>
  );
}

const PROMISE = "Headcount counts heads, not faces: no address, no cookie, and once a day is closed only counts.";

/** What the address asks for, or what has something to show: until there are figures, whether events arrive. */
function viewOf({ view }: Address, { answer, refusal }: Asked<Sites>): View | undefined {
  // Figures are an analyst's; how the collector does is the operator's.
  const mayInstall = !isShared && (answer === undefined || answer.role === "admin");
  if (answer === undefined) return refusal && !isShared ? "installation" : undefined;
  if (view === "realtime" && isShared) return "overview";
  if (view && (view !== "installation" || mayInstall)) return view;
  return mayInstall && !answer.sites.some(({ first_day }) => first_day !== null) ? "installation" : "overview";
}

function InstallationFrame({ sites }: { sites: Sites | undefined }) {
  const asked = useAsked<InstallationOverview>("overview", overview, INSTALLATION_SECONDS);
  const state = asked.refusal ? "Headcount does not answer. Trying again …" : asked.answer ? `Version ${asked.answer.version}` : "Loading …";
  return (
    <Frame view="installation" sites={sites} site={undefined} state={state} promise={asked.answer ? promise(asked.answer.close_after_hours) : ""}>
      <Installation asked={asked} />
    </Frame>
  );
}

/** Before the first answer, and when there is none. */
function Nothing({ asked }: { asked: Asked<Sites> }) {
  const [isLate, setLate] = useState(false);
  useEffect(() => {
    const timer = setTimeout(() => setLate(true), 400);
    return () => clearTimeout(timer);
  }, []);
  const words = asked.refusal?.message ?? (asked.answer ? "There is no site to show." : isLate ? "Loading …" : "");
  return (
    <Frame view="overview" sites={undefined} site={undefined} state="" promise="">
      <main id="content" aria-label="Headcount" aria-busy={asked.waiting}><p class="empty" role="status">{words}</p></main>
    </Frame>
  );
}

applyTheme();
render(<App />, document.getElementById("app")!);
