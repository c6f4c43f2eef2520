// Bundles the explorer's pages, src/explore/page/, into a script each and one style sheet. Nothing of Node.js may be left in
// what the page uses: modules that the credit's own files import for other purposes are dropped with what needs them.
import { readFileSync } from "node:fs";
import { build } from "esbuild";

const unused = {
  name: "no-node",
  setup(build) {
    build.onResolve({ filter: /^node:/ }, ({ path }) => ({ path, external: true, sideEffects: false }));
  },
};
const licence = (name) => `${name}:\n${readFileSync(`node_modules/${name}/LICENSE`, "utf8").trim()}`;

/** @param folder gets bundle.js, sliders.js and style.css */
export async function bundle(folder) {
  const { metafile } = await build({
    entryPoints: {
      bundle: "src/explore/page/main.ts",
      sliders: "src/explore/page/sliders.ts",
      style: "src/explore/page/style.css",
    },
    entryNames: "[name]",
    outdir: folder,
    bundle: true,
    minify: true,
    metafile: true,
    format: "iife",
    target: ["chrome111", "firefox115", "safari16.4"],
    legalComments: "none",
    banner: { js: `/*!\n${["d3-hierarchy", "diff"].map(licence).join("\n\n")}\n*/` },
    plugins: [unused],
    logLevel: "warning",
  });
  const left = Object.values(metafile.outputs).flatMap(({ imports }) => imports.map(({ path }) => path));
  if (left.length > 0) throw new Error(`the explorer's page needs ${left.join(", ")}, which no browser has`);
}
