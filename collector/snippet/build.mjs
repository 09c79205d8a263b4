// Makes h.min.js out of src/h.js. The result is committed and embedded in the binary, so that building Headcount needs no Node; a test compares the two.
import { readFile, writeFile } from "node:fs/promises";
import { pathToFileURL } from "node:url";
import { minify } from "terser";

const source = new URL("src/h.js", import.meta.url);
export const result = new URL("h.min.js", import.meta.url);

export async function build() {
  const { code } = await minify(await readFile(source, "utf8"), {
    ecma: 2017,
    compress: { passes: 3, unsafe_arrows: true, keep_fargs: false, pure_getters: true, booleans_as_integers: true },
    mangle: true,
  });
  return code + "\n";
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) await writeFile(result, await build());
