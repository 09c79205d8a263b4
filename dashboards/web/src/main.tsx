// The application: which view is shown, of which site.

import { render } from "preact";
import { useAddress } from "./address.ts";
import type { View } from "./address.ts";
import { overview } from "./api.ts";
import { useAsked } from "./asked.ts";
import type { Asked } from "./asked.ts";
import { promise } from "./install/overview.ts";
import type { Overview } from "./install/overview.ts";
import { Installation } from "./install/view.tsx";
import { Frame } from "./parts/frame.tsx";
import { applyTheme } from "./parts/theme.ts";
import "../style.css";
import "./parts/frame.css";
import "./install/install.css";

const INSTALLATION_SECONDS = 5;

function App() {
  const address = useAddress();
  const view: View = "installation";
  const asked = useAsked<Overview>("overview", overview, INSTALLATION_SECONDS);
  return (
    <Frame address={address} view={view} sites={undefined} state={stateOf(asked)} promise={asked.answer ? promise(asked.answer.close_after_hours) : ""}>
      <Installation asked={asked} />
    </Frame>
  );
}

function stateOf({ answer, refusal }: Asked<Overview>): string {
  if (refusal) return "Headcount does not answer. Trying again …";
  return answer ? `Version ${answer.version}` : "Loading …";
}

applyTheme();
render(<App />, document.getElementById("app")!);
