// What was not counted, and why: refusals of visitors, robots, and what has to be mended.

import type { Address } from "../address.ts";
import { outcomes } from "../api.ts";
import type { Site } from "../api.ts";
import { useAsked } from "../asked.ts";
import { numbers } from "../format.ts";
import { dropped, refused } from "../reasons.ts";
import { FRESH_SECONDS } from "./figures.tsx";
import { Refused } from "./refused.tsx";
import { spanOf } from "./rules.ts";

const COUNTED = new Set(["accepted", "duplicate"]);

export function Uncounted({ site, address }: { site: Site; address: Address }) {
  const { from, to } = spanOf(address.range, site.today);
  const asked = useAsked(`outcomes ${site.id} ${from} ${to}`, (signal) => outcomes(site.id, from, to, signal), FRESH_SECONDS);
  const rows = asked.answer?.rows.filter(([reason, count]) => !COUNTED.has(reason) && count > 0).sort(([, one], [, other]) => other - one);
  const most = Math.max(1, ...(rows ?? []).map(([, count]) => count));
  return (
    <section class="card panel uncounted" aria-labelledby="panel-uncounted" aria-busy={asked.waiting}>
      <header><h2 id="panel-uncounted">Not counted</h2></header>
      <div class="content">
        {asked.refusal && !rows ? (
          <Refused refusal={asked.refusal} again={asked.again} />
        ) : !rows ? (
          <div class="ghosts" role="status"><span class="unseen">Loading</span><div class="ghost" /><div class="ghost" /></div>
        ) : rows.length === 0 ? (
          <p class="empty">Everything that arrived was counted.</p>
        ) : (
          <ul class="reasons">
            {rows.map(([reason, count]) => (
              <li key={reason} class={reason in refused ? "mend" : ""} style={{ "--share": String(count / most) }}>
                <span>{words(reason)[0]}{reason in refused && words(reason)[1] && <span class="quiet"> {words(reason)[1]}</span>}</span> <b>{numbers.format(count)}</b>
              </li>
            ))}
          </ul>
        )}
        {rows && rows.length > 0 && <footer><p class="note">Events of the whole site, whatever the filter. Of what a visitor refused, nothing is kept but this count.</p></footer>}
      </div>
    </section>
  );
}

const words = (reason: string): [string, string] => dropped[reason] ?? refused[reason] ?? [reason, ""];
