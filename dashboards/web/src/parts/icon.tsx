// The few signs of the pages, drawn with strokes of one width on a sheet of 20 x 20.

const PATHS = {
  down: "M5 8l5 5 5-5",
  calendar: "M3.5 6.5a2 2 0 0 1 2-2h9a2 2 0 0 1 2 2v8a2 2 0 0 1-2 2h-9a2 2 0 0 1-2-2zM3.5 8.5h13M7 2.8v3M13 2.8v3",
  close: "M5.5 5.5l9 9M14.5 5.5l-9 9",
  download: "M10 3.5v9M6.2 9l3.8 3.8L13.8 9M4 16.5h12",
  table: "M3.5 4.5h13v11h-13zM3.5 8.5h13M3.5 12h13M8 8.5v7",
  info: "M10 9v5M10 6.2v.1M17 10a7 7 0 1 1-14 0 7 7 0 0 1 14 0z",
  system: "M3.5 4.5h13v8.5h-13zM7.5 16.5h5M10 13v3.5",
  light: "M10 6.5a3.5 3.5 0 1 1 0 7 3.5 3.5 0 0 1 0-7zM10 2v1.6M10 16.4V18M2 10h1.6M16.4 10H18M4.3 4.3l1.2 1.2M14.5 14.5l1.2 1.2M4.3 15.7l1.2-1.2M14.5 5.5l1.2-1.2",
  dark: "M16.5 11.8A7 7 0 1 1 8.2 3.5a5.6 5.6 0 0 0 8.3 8.3z",
};

export type IconName = keyof typeof PATHS;

export function Icon({ name }: { name: IconName }) {
  return <svg class="sign" viewBox="0 0 20 20" aria-hidden="true"><path d={PATHS[name]} /></svg>;
}
