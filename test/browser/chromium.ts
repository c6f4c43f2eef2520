/** The browser of these tests. */
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";

/** CHROMIUM_PATH, or the first Chromium or Chrome on the PATH. */
function findBrowser(): string | undefined {
  if (process.env.CHROMIUM_PATH) return process.env.CHROMIUM_PATH;
  const names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
  const folders = [...(process.env.PATH ?? "").split(delimiter), "/usr/bin"];
  return names
    .flatMap((name) => folders.map((folder) => join(folder, name)))
    .find((path) => {
      try {
        accessSync(path, constants.X_OK);
        return true;
      } catch {
        return false;
      }
    });
}

export const executablePath = findBrowser();
if (!executablePath) console.warn("no Chromium found: the browser tests are skipped; install one or set CHROMIUM_PATH");
