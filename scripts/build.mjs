// Compiles src/ to dist/. A stale file in dist/ would shadow a renamed module in the kernel, so dist/ is cleared first.
import { execFileSync } from "node:child_process";
import { chmodSync, rmSync } from "node:fs";
import { bundle } from "./bundle.mjs";

rmSync("dist", { recursive: true, force: true });
execFileSync(process.execPath, ["node_modules/typescript/bin/tsc", "-p", "tsconfig.json"], { stdio: "inherit" });
chmodSync("dist/cli.js", 0o755);
await bundle("dist/explore");
