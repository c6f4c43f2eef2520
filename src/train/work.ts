/** A training as work for a launcher: python/train.py with the stage files in train/, and what it needs to be elsewhere. */
import { existsSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { cachePath, python, pythonScript } from "../paths.js";
import { quoted, type Work, type WorkPlace } from "./launchers/launcher.js";
import { filesIn } from "./launchers/staging.js";
import type { TrainingStage } from "./plan.js";

/** What one start of the trainer has to do, and how. */
export interface TrainingJob {
  run: string;
  /** The run's folder, absolute. */
  dir: string;
  /** In order. Their YAML files are in train/. */
  stages: readonly Pick<TrainingStage, "name" | "start" | "data">[];
  /** Folder of the base model, or its name on the model hub. */
  baseModel: string;
  /** Whether each adapter is also written for llama.cpp. */
  gguf: boolean;
  /** Stages trained at the same time. */
  jobs: number;
  /** Whether the trainer goes on when this process ends; local alone can do otherwise. */
  outlives: boolean;
  place: WorkPlace;
}

/** Files of python/ that train.py consists of. */
export const trainerPrograms = [
  "train.py",
  "stage.py",
  "preference.py",
  "processes.py",
  "value_losses.py",
  "visible.py",
];

/** Python modules that the trainer needs. */
const modules = "torch transformers trl peft yaml accelerate datasets";

/** The training as a launcher takes it. */
export function trainingWork({ run, dir, stages, baseModel, gguf, jobs, outlives, place }: TrainingJob): Work {
  const folder = join(dir, "train");
  const isFolder = existsSync(baseModel);
  return {
    name: run,
    folder,
    // Stages know themselves whether they are done.
    key: "",
    parts: stages,
    results: stages.map(({ name }) => name),
    place,
    outlives,
    keepsKey: false,
    before: "",
    files: () => filesOf(folder, stages, isFolder ? baseModel : null),
    program: ({ python: own }, isCopied) =>
      isCopied ? [own ?? "python3", "../python/train.py"] : [own ?? python, pythonScript("train.py")],
    args: ({ processes }, parts, prefix) => [
      ...["--jobs", `${jobs}`],
      ...(processes > 1 ? ["--processes", `${processes}`] : []),
      ...(gguf ? ["--gguf"] : []),
      ...parts.map((name) => `${prefix}${name}.yaml`),
    ],
    // A base model in a folder needs no hub, and without a network a request to one would only delay the start.
    variables: (isCopied): Record<string, string> => {
      if (!isFolder) return {};
      if (isCopied) return { MALT_BASE_MODEL: "../model", HF_HUB_OFFLINE: "1" };
      return { HF_HUB_OFFLINE: "1", HF_HOME: cachePath("huggingface") };
    },
    needs: { check, refusal, install: `python3 -c 'import trl, peft' 2>/dev/null || pip install ${packages}` },
  };
}

const packages = "torch==2.15.0 transformers==5.23.0 trl==1.16.0 peft==0.21.2 gguf==0.19.0 pyyaml";

/** The stages' YAML files and data, adapters they start from, checkpoints they go on from, the trainer, the base model. */
async function filesOf(
  train: string,
  stages: TrainingJob["stages"],
  baseModel: string | null,
): Promise<ReadonlyMap<string, string>> {
  const files = new Map<string, string>();
  const names = new Set(stages.flatMap(({ name, start }) => (start === null ? [name] : [start, name])));
  for (const file of [...stages.map(({ name }) => `${name}.yaml`), ...new Set(stages.map(({ data }) => data))])
    files.set(`train/${file}`, join(train, file));
  for (const name of names)
    for (const file of await filesIn(join(train, name))) files.set(`train/${name}/${file}`, join(train, name, file));
  for (const name of [...trainerPrograms, "adapter.py"]) files.set(`python/${name}`, pythonScript(name));
  if (baseModel !== null) {
    // A GGUF file is for serving. Only files: a clone of a hub's repository has folders with the same weights once more.
    const own = await readdir(baseModel, { withFileTypes: true });
    for (const { name } of own.filter((entry) => !entry.isDirectory() && !/\.(gguf|md)$/.test(entry.name)))
      files.set(`model/${name}`, join(baseModel, name));
  }
  return files;
}

function check({ python: own }: WorkPlace): string {
  const find = `import importlib.util as u, sys; print("malt: " + (" ".join(["modules", *m]) if (m := [n for n in "${modules}".split() if not u.find_spec(n)]) else "ready"))`;
  return `${own ?? "python3"} -c ${quoted(find)} || echo "malt: python"`;
}

function refusal({ python: own = "python3" }: WorkPlace, host: string, state: string, words: string): string {
  const environment = "or name an environment that has it with --python PATH or --setup 'source venv/bin/activate'";
  return state === "modules"
    ? `${own} on ${host} lacks ${words.replaceAll(" ", ", ")}; install it there (pip install torch transformers trl peft gguf pyyaml), ${environment}`
    : `${own} does not run on ${host}; install Python 3.10 or later, ${environment}`;
}
