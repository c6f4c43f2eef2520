// Tests that start real kernels, JupyterLab and a browser: apart from the unit tests, and one file at a time.
import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    root: fileURLToPath(new URL("..", import.meta.url)),
    include: ["test/notebooks/**/*.test.ts", "test/browser/**/*.test.ts"],
    testTimeout: 120_000,
    hookTimeout: 120_000,
    fileParallelism: false,
    // Notebooks side by side, where a file asks for it: half of the time a kernel only starts.
    maxConcurrency: 2,
  },
});
