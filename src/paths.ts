/**
 * Where files of this package lie, seen from src/ and from dist/ alike. The only file that knows.
 */
import { join, relative, resolve, sep } from "node:path";
import { fileURLToPath } from "node:url";

/** The package's folder. */
export const root = fileURLToPath(new URL("..", import.meta.url));

/** A path inside the package. */
export const inPackage = (...parts: string[]): string => join(root, ...parts);

/** A file or folder in data/. */
export const dataPath = (...parts: string[]): string => inPackage("data", ...parts);

/** What the explorer's pages run and look like; they exist after `npm run build`. */
export const explorerBundle = {
  scripts: {
    explorer: inPackage("dist", "explore", "bundle.js"),
    sliders: inPackage("dist", "explore", "sliders.js"),
  },
  style: inPackage("dist", "explore", "style.css"),
};

/** A file or folder in .cache/, which holds what was downloaded or converted and may be removed at any time. */
export const cachePath = (...parts: string[]): string => inPackage(".cache", ...parts);

/** A Python program in python/. */
export const pythonScript = (name: string): string => inPackage("python", name);

/** The interpreter of the project's Python environment; it exists after `npm run setup`. */
export const python = inPackage(".venv", process.platform === "win32" ? "Scripts/python.exe" : "bin/python");

/** The questions of the project's own benchmark, for training and for evaluation. */
export const arithmetic = { train: dataPath("arithmetic", "train.jsonl"), test: dataPath("arithmetic", "test.jsonl") };

/** Whether a path lies inside the package. */
export const isInPackage = (path: string): boolean => resolve(path).startsWith(root.endsWith(sep) ? root : root + sep);

/**
 * How a path is recorded in a run's files: relative to the package's folder if it is inside it, so that the record
 * reveals nothing about this machine and another clone finds the same file; otherwise as given.
 */
export const recordedPath = (path: string): string =>
  !URL.canParse(path) && isInPackage(path) ? relative(root, resolve(path)).split(sep).join("/") : path;
