// `npm run lab`: JupyterLab on the notebooks, on loopback with a token. Options after `--` go to JupyterLab, in place of
// those here.
import { main, run } from "./progress.mjs";
import { environment, root, setUp, venv } from "./setup.mjs";

main(import.meta.url, async () => {
  await setUp();
  const options = ["--ip=127.0.0.1", `--ServerApp.root_dir=${root}`, "--LabApp.default_url=/lab/tree/notebooks"];
  // JupyterLab would otherwise contact its developers' servers for news and updates.
  options.push("--LabApp.news_url=None", "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate");
  if (process.getuid?.() === 0) options.push("--allow-root");
  // JupyterLab refuses an option that is given twice.
  const given = process.argv.slice(2);
  const name = (option) => option.split("=")[0];
  const own = options.filter((option) => !given.some((word) => name(word) === name(option)));
  const settings = { cwd: root, env: environment, quiet: true, untilStopped: true };
  process.exitCode = await run(venv("jupyter"), ["lab", ...own, ...given], settings);
});
