// What surrounds every view: name, site, views, light and dark.

import type { ComponentChildren } from "preact";
import { follow, go, link } from "../address.ts";
import type { View } from "../address.ts";
import { isShared } from "../api.ts";
import type { Site, Sites } from "../api.ts";
import { Pulse } from "../realtime.tsx";
import { Icon } from "./icon.tsx";
import { THEMES, useTheme } from "./theme.ts";
import type { Theme } from "./theme.ts";

interface FrameProps {
  view: View;
  /** None where nothing but the installation can be shown. */
  sites: Sites | undefined;
  /** The one that is looked at. */
  site: Site | undefined;
  state: string;
  promise: string;
  children: ComponentChildren;
}

const VIEW_NAMES: [View, string][] = [["overview", "Overview"], ["realtime", "Realtime"], ["installation", "Installation"]];

export function Frame({ view, sites, site, state, promise, children }: FrameProps) {
  const views = VIEW_NAMES.filter(([name]) => name !== "installation" || sites?.role === "admin");
  return (
    <>
      <a class="skip" href="#content">Skip to the content</a>
      <div class={sites ? "page wide" : "page"}>
        <header class="top">
          <a class="brand" href={link({ view: undefined, filters: [] })} onClick={follow({ view: undefined, filters: [] })}>
            <Logo />
            <h1 class="name">Headcount</h1>
          </a>
          {sites && site && <SiteSwitch sites={sites} site={site} />}
          {sites && !isShared && (
            <nav aria-label="Views">
              {views.map(([name, words]) => (
                <a key={name} href={link({ view: name })} onClick={follow({ view: name })} aria-current={name === view ? "page" : undefined}>{words}</a>
              ))}
            </nav>
          )}
          {site && view === "overview" && !isShared && <Pulse site={site} />}
          <p class="state" role="status">{state}</p>
          <ThemeSwitch />
        </header>
        <div class={view === "installation" ? "narrower" : ""}>{children}</div>
        <footer>
          <p>{promise}</p>
          <p class="links">
            {!isShared && <a href="/demo">Demonstration</a>}
            <a href="./licenses.md">Licences</a>
          </p>
        </footer>
      </div>
    </>
  );
}

function Logo() {
  return (
    <svg viewBox="0 0 32 32" aria-hidden="true">
      <circle cx="10" cy="11" r="5" /><circle cx="22" cy="11" r="5" />
      <path d="M2 27a8 8 0 0 1 16 0zM19.5 27h10.5a8 8 0 0 0-12.2-6.8A11 11 0 0 1 19.5 27z" />
    </svg>
  );
}

function SiteSwitch({ sites, site }: { sites: Sites; site: Site }) {
  if (sites.sites.length < 2) return <p class="site-name">{site.id}</p>;
  const change = (event: Event) => go({ site: (event.currentTarget as HTMLSelectElement).value, filters: [] });
  return (
    <label class="select site-name">
      <span class="unseen">Site</span>
      <select value={site.id} onChange={change}>
        {sites.sites.map(({ id }) => <option key={id} value={id}>{id}</option>)}
      </select>
      <Icon name="down" />
    </label>
  );
}

const THEME_NAMES: Record<Theme, string> = { system: "as the system", light: "light", dark: "dark" };

function ThemeSwitch() {
  const [theme, setTheme] = useTheme();
  const next = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length]!;
  const words = `Colours: ${THEME_NAMES[theme]}. Switch to ${THEME_NAMES[next]}`;
  return (
    <button type="button" class="icon theme" aria-label={words} title={words} onClick={() => setTheme(next)}>
      <Icon name={theme} />
    </button>
  );
}
