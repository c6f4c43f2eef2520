import { defineConfig } from "vitest/config";

const src = (path: string) => new URL(`./src/${path}`, import.meta.url).pathname;

export default defineConfig({
  resolve: {
    alias: [{ find: /^malt-notebooks$/, replacement: src("index.ts") }],
  },
  // Half of the long tests wait for other processes; vitest would run one file at a time on two cores.
  test: {
    maxWorkers: 2,
    include: ["test/**/*.test.ts"],
    exclude: ["test/notebooks/**", "test/browser/**"],
    testTimeout: 60_000,
  },
});
