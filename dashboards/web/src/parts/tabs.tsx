// Tabs as the ARIA practices have them: one stop of the Tab key, arrow keys among them.

interface TabsProps {
  label: string;
  id: string;
  tabs: [name: string, words: string][];
  picked: string;
  pick: (name: string) => void;
}

export function Tabs({ label, id, tabs, picked, pick }: TabsProps) {
  const onKey = (event: KeyboardEvent) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    const at = tabs.findIndex(([name]) => name === picked);
    const [next] = tabs[(at + step + tabs.length) % tabs.length]!;
    pick(next);
    document.getElementById(`${id}-${next}`)?.focus();
  };
  return (
    <div class="tabs" role="tablist" aria-label={label} onKeyDown={onKey}>
      {tabs.map(([name, words]) => (
        <button type="button" role="tab" key={name} id={`${id}-${name}`} aria-selected={name === picked} aria-controls={`${id}-content`} tabIndex={name === picked ? 0 : -1} onClick={() => pick(name)}>{words}</button>
      ))}
    </div>
  );
}
