// The overview of a site: what is looked at, the figures, the panels.

import type { Address } from "../address.ts";
import { isShared } from "../api.ts";
import type { Site } from "../api.ts";
import { Controls } from "./controls.tsx";
import { Figures } from "./figures.tsx";
import { PanelCard } from "./panel.tsx";
import { panels } from "./panels.ts";
import { Uncounted } from "./uncounted.tsx";

export function Overview({ site, address }: { site: Site; address: Address }) {
  return (
    <main id="content" class="overview" aria-label={`Overview of ${site.id}`}>
      <Controls site={site} address={address} />
      <Figures site={site} address={address} />
      <div class="panels">
        {panels(site).map((panel) => <PanelCard key={`${site.id} ${panel.id}`} site={site} address={address} panel={panel} />)}
        {!isShared && <Uncounted site={site} address={address} />}
      </div>
    </main>
  );
}
