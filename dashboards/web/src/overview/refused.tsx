// What stands where there is no answer: why, and a way on.

import type { Refusal } from "../api.ts";

export function Refused({ refusal, again }: { refusal: Refusal; again: () => void }) {
  return (
    <div class="empty" role="alert">
      <p>{refusal.message}</p>
      {refusal.allowed.length > 0 && <p class="quiet">Possible: {refusal.allowed.join(", ")}.</p>}
      {refusal.status !== 400 && <button type="button" class="plain small" onClick={again}>Ask again</button>}
    </div>
  );
}
