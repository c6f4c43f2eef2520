import { defineConfig } from "vitest/config";

const src = (path: string) => new URL(`./src/${path}`, import.meta.url).pathname;

export default defineConfig({
  resolve: {
    alias: [{ find: /^malt-notebooks$/, replacement: src("index.ts") }],
  },
  test: { include: ["test/**/*.test.ts"], exclude: ["test/notebooks/**", "test/browser/**"], testTimeout: 60_000 },
});
