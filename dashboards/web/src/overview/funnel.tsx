// Funnels: the steps of each in their order, how many visits did them, and how many were lost before.

import type { Answer, Site } from "../api.ts";
import { figure } from "../format.ts";

/** One step as it is shown; without a number where too few did it, or nobody. */
interface Step {
  name: string;
  visits: number | undefined;
  rate: string;
  /** Of 100 visits that did the step before, those that did not do this one. */
  lost: number | undefined;
}

export function Funnels({ answer, site }: { answer: Answer; site: Site }) {
  const at = (column: string) => answer.columns.findIndex(({ name }) => name === column);
  const [step, conversions, rate] = [at("funnel"), at("conversions"), at("conversion_rate")];
  const told = new Map(answer.rows.map((row) => [String(row[step]), row]));
  return (
    <div class="funnels">
      {site.funnels.map((funnel) => {
        const rows = funnel.steps.map((_, index) => told.get(`${funnel.name}/${index + 1}`));
        const steps = funnel.steps.map((name, index): Step => {
          const visits = rows[index] && Number(rows[index]![conversions]);
          const before = index > 0 && rows[index - 1] ? Number(rows[index - 1]![conversions]) : undefined;
          return { name, visits, rate: figure(rows[index]?.[rate] ?? null, "percent"), lost: before && visits !== undefined ? Math.max(0, (100 * (before - visits)) / before) : undefined };
        });
        return <Way key={funnel.name} name={funnel.name} steps={steps} k={site.k} />;
      })}
    </div>
  );
}

function Way({ name, steps, k }: { name: string; steps: Step[]; k: number }) {
  const first = steps[0]?.visits ?? 0;
  return (
    <section class="funnel">
      <h3>{name}</h3>
      <ol>
        {steps.map(({ name, visits, rate, lost }, index) => (
          <li key={index} style={{ "--share": String(first && visits ? Math.min(1, visits / first) : 0) }}>
            <span class="step" title={name}>{name}</span>
            {lost !== undefined && <span class="lost" title="Of the visits that did the step before, those that went no further">{lost === 0 ? "none lost" : `−${figure(lost, "percent")}`}</span>}
            {visits === undefined ? (
              <span class="few">under {k}, or none</span>
            ) : (
              <span class="visits" title={`${rate} of all visits`}>{figure(visits, "count")}<span class="unseen"> visits, {rate} of all</span></span>
            )}
          </li>
        ))}
      </ol>
    </section>
  );
}
