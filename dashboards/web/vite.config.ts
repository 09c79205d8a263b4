// How the dashboard is built: few files with fixed names, which the collector embeds one by one, and nothing inline, which its policy would refuse.

import { defineConfig } from "vite";
import { world } from "./world.ts";

/** A running collector to develop against: `HEADCOUNT_OFFICE=http://127.0.0.1:8081 npm run dev`, logged in under that address. */
const office = process.env["HEADCOUNT_OFFICE"] ?? "http://127.0.0.1:8081";

export default defineConfig({
  // Share links serve the same files below another path.
  base: "./",
  publicDir: false,
  plugins: [world()],
  server: { proxy: { "/api": office, "/v1": office, "/demo": office } },
  build: {
    target: "es2023",
    assetsInlineLimit: 0,
    cssCodeSplit: false,
    modulePreload: false,
    reportCompressedSize: false,
    license: { fileName: "licenses.md" },
    rolldownOptions: {
      output: { entryFileNames: "app.js", chunkFileNames: ({ name }) => (name.endsWith("world") ? "world.js" : "[name].js"), assetFileNames: "app[extname]" },
    },
  },
});
