// Asking from a component: the answer of now, or the last one while the next is on its way, or why there is none.

import { useEffect, useRef, useState } from "preact/hooks";
import { Refusal } from "./api.ts";

export interface Asked<T> {
  /** The last answer, which may be to the question before. */
  answer: T | undefined;
  refusal: Refusal | undefined;
  /** Whether an answer is on its way that is not to be shown yet. */
  waiting: boolean;
  again: () => void;
}

/** Answers that were given lately, so that the way back shows at once what was there. */
const known = new Map<string, unknown>();
const KNOWN_MOST = 200;

/**
 * Asks `question` whenever `key` changes, and again every `seconds` while somebody looks. Without a key nothing is asked.
 */
export function useAsked<T>(key: string | undefined, question: (signal: AbortSignal) => Promise<T>, seconds?: number): Asked<T> {
  const [state, setState] = useState<{ key?: string | undefined; answer?: T; refusal?: Refusal }>({});
  const [round, setRound] = useState(0);
  const latest = useRef(question);
  latest.current = question;

  useEffect(() => {
    if (key === undefined) return;
    const abort = new AbortController();
    const remembered = known.get(key) as T | undefined;
    if (remembered !== undefined) setState({ key, answer: remembered });
    const ask = async () => {
      try {
        const answer = await latest.current(abort.signal);
        if (known.size >= KNOWN_MOST) known.clear();
        known.set(key, answer);
        if (!abort.signal.aborted) setState({ key, answer });
      } catch (error) {
        if (abort.signal.aborted) return;
        const refusal = error instanceof Refusal ? error : new Refusal(0, "unreadable", "The answer could not be read.");
        // A figure that was right a minute ago is better than none; a question that is refused has none.
        setState((before) => (before.key === key && before.answer !== undefined && refusal.status !== 400 ? { ...before, refusal } : { key, refusal }));
      }
    };
    void ask();
    const timer = seconds === undefined ? undefined : setInterval(() => document.hidden || void ask(), seconds * 1_000);
    const shown = () => document.hidden || void ask();
    if (seconds !== undefined) document.addEventListener("visibilitychange", shown);
    return () => {
      abort.abort();
      clearInterval(timer);
      document.removeEventListener("visibilitychange", shown);
    };
  }, [key, round, seconds]);

  return {
    answer: state.answer,
    refusal: state.key === key ? state.refusal : undefined,
    waiting: key !== undefined && state.key !== key,
    again: () => setRound(round + 1),
  };
}
