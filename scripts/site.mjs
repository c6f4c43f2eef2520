// `npm run site [-- --out FOLDER]`: the notebooks, explorers and figures as a static site, after the set-up.
import { main, run } from "./progress.mjs";
import { environment, root, setUp } from "./setup.mjs";

main(import.meta.url, async () => {
  await setUp();
  const args = ["--import", "tsx", "scripts/site/build.ts", ...process.argv.slice(2)];
  process.exitCode = await run(process.execPath, args, { cwd: root, env: environment });
});
