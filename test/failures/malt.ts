/** Runs the command line in a process of its own, as a user does, and reads what it left. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { readJournal } from "../../src/run/journal.js";
import { type Manifest, readManifest } from "../../src/run/manifest.js";
import type { JournalEntry } from "../../src/types.js";

const root = fileURLToPath(new URL("../..", import.meta.url));

export interface Ended {
  code: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
  /** What stderr holds besides progress. */
  errors: string[];
}

/** An outputs folder of its own with a question file in it. */
export interface Workplace {
  outputs: string;
  questions: string;
  env: NodeJS.ProcessEnv;
  remove(): Promise<void>;
}

/** Questions whose answer is 12, which the fake server gets right about half of the time. */
export async function workplace(questions = 3): Promise<Workplace> {
  const outputs = await mkdtemp(join(tmpdir(), "malt-failures-"));
  const file = join(outputs, "questions.jsonl");
  const rows = Array.from({ length: questions }, (_, i) => ({
    id: `q${i}`,
    question: `${i} + ${12 - i}?`,
    answer: "12",
  }));
  await writeFile(file, rows.map((row) => `${JSON.stringify(row)}\n`).join(""));
  const env = { ...process.env, MALT_OUTPUTS: outputs, OPENAI_BASE_URL: "", OPENAI_API_KEY: "" };
  return { outputs, questions: file, env, remove: () => rm(outputs, { recursive: true, force: true }) };
}

/** Starts `malt <args>`; `limit` is a shell command that is run before it, such as `ulimit -f 8`. */
export function malt(place: Workplace, args: string[], limit = ""): { child: ChildProcess; ended: Promise<Ended> } {
  const command = [process.execPath, "--import", "tsx", join(root, "src/cli.ts"), ...args];
  const [file, ...rest] = limit ? ["/bin/bash", "-c", `${limit}; exec "$@"`, "malt", ...command] : command;
  const child = spawn(file!, rest, { cwd: root, env: place.env, stdio: ["ignore", "pipe", "pipe"] });
  const end = async (): Promise<Ended> => {
    const [stdout, stderr] = await Promise.all([text(child.stdout!), text(child.stderr!), once(child, "close")]);
    const errors = stderr.split("\n").filter((line) => line !== "" && !line.startsWith("sampling requests "));
    return { code: child.exitCode, signal: child.signalCode, stdout, stderr, errors };
  };
  return { child, ended: end() };
}

/** `malt sample` of a workplace's questions as run "r". */
export function sample(place: Workplace, baseURL: string, args: string[] = [], limit = "") {
  const basics = ["sample", "--base-url", baseURL, "--questions", place.questions, "--run", "r", "--max-retries", "0"];
  return malt(place, [...basics, "--concurrency", "4", ...args], limit);
}

export const folder = (place: Workplace) => join(place.outputs, "runs", "r");

export const manifest = (place: Workplace): Promise<Manifest> => readManifest(folder(place));

/** The journal's entries, sorted by question and path: what the dataset is made from. */
export async function journal(place: Workplace): Promise<JournalEntry[]> {
  const entries: JournalEntry[] = [];
  for await (const entry of readJournal(folder(place))) entries.push(entry);
  const at = (entry: JournalEntry) => `${entry.question_id} ${entry.node_id}`;
  return entries.sort((a, b) => (at(a) < at(b) ? -1 : 1));
}

/** Every file below a folder, with its content. */
export async function files(dir: string): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  for (const entry of await readdir(dir, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    if (entry.isFile()) found.set(path, await readFile(path, "latin1"));
  }
  return found;
}
