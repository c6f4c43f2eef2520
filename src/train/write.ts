/**
 * Writes a run's training plan as the files of another trainer, into a folder that can be carried to it. Scope: the files.
 * What each trainer's look like is in formats/.
 */
import { createWriteStream } from "node:fs";
import { copyFile, mkdir, readdir, writeFile } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { InputError } from "../errors.js";
import { linesOf } from "../lines.js";
import { trainableWeights } from "../models/weights.js";
import { pythonScript } from "../paths.js";
import { failing } from "../run/files.js";
import { axolotl } from "./formats/axolotl.js";
import type { FormOptions, TrainerForm, TrainingRow } from "./formats/form.js";
import { llamaFactory } from "./formats/llama-factory.js";
import { trl } from "./formats/trl.js";
import type { TrainingStage } from "./plan.js";
import { bringStarts, type PlannedOptions, plannedTraining, portable } from "./planned.js";

/** The trainers that a plan can be written for, by their names on the command line. */
export const trainerForms = { axolotl, "llama-factory": llamaFactory, trl } as const satisfies Record<
  string,
  TrainerForm
>;
export type TrainerFormName = keyof typeof trainerForms;
export const trainerFormNames = Object.keys(trainerForms) as TrainerFormName[];

/**
 * Writes the plan of {@link PlannedOptions} for a trainer: a YAML file a stage, their data, and a README.md with the
 * commands and what to know.
 * @param out a folder that is new or empty
 * @returns the plan, and the names of the files
 * @throws as {@link plannedTraining}; InputError if the folder holds something; RunError if it cannot be written
 */
export async function writeTraining(
  format: TrainerFormName,
  out: string,
  options: PlannedOptions & { onStatus?: (text: string) => void },
): Promise<{ plan: TrainingStage[]; files: string[] }> {
  const target = resolve(out);
  const there = await readdir(target).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return [];
    throw new InputError(`--out ${out} is no folder that can be read (${error.code}); give another`);
  });
  if (there.length > 0) throw new InputError(`--out ${out} holds files already (${there[0]}, …); give a new folder`);
  const { plan, folder, settings, sampled, sampledAdapters } = await plannedTraining(options);
  const base = await trainableWeights(sampled, options.baseModel, options.onStatus ?? (() => {}));
  const form: TrainerForm = trainerForms[format];
  const how: FormOptions = { baseModel: portable(target, base), settings, seed: options.seed ?? 0 };
  const starts = (name: string) => plan.some(({ start, method }) => start === name && method === "dpo");
  const texts: Record<string, string> = {
    ...Object.fromEntries(plan.map((stage) => [`${stage.name}.yaml`, heading(form, stage) + form.stage(stage, how)])),
    ...form.others(plan),
    "README.md": readme(form, plan, how, starts),
  };
  return failing(`write ${target}`, async () => {
    await mkdir(target, { recursive: true });
    const data = [...new Set(plan.map((stage) => stage.data))];
    for (const name of data) {
      const rows = rowsOf(join(folder, name), form);
      await pipeline(Readable.from(rows), createWriteStream(join(target, name)));
    }
    for (const [name, text] of Object.entries(texts)) await writeFile(join(target, name), text);
    for (const name of form.scripts) await copyFile(pythonScript(name), join(target, basename(name)));
    const starts = await bringStarts(target, { plan, sampledAdapters });
    return { plan, files: [...Object.keys(texts), ...data, ...starts, ...form.scripts].sort() };
  });
}

/** What a file says about itself: the stage, and of DPO how its reference is chosen. */
function heading(form: TrainerForm, { name, role, method, steps }: TrainingStage): string {
  const lines = [
    `Stage ${name} for ${form.title}: ${method} of the ${role}, ${steps} steps. README.md has the commands.`,
  ];
  if (method === "dpo") lines.push(`DPO's reference must be the SFT policy. ${form.reference}`);
  return lines.map((line) => `# ${line}\n`).join("");
}

async function* rowsOf(path: string, form: TrainerForm): AsyncGenerator<string> {
  for await (const { text } of linesOf(path))
    if (text.trim() !== "") yield `${JSON.stringify(form.row(JSON.parse(text) as TrainingRow))}\n`;
}

function readme(
  form: TrainerForm,
  plan: readonly TrainingStage[],
  { baseModel, settings }: FormOptions,
  starts: (name: string) => boolean,
): string {
  const rows = plan.map(({ name, data, rows, start, epochs, steps }) => {
    const length = epochs === null ? "" : `${epochs} epoch${epochs === 1 ? "" : "s"}, `;
    return `| ${name} | ${data} | ${rows} | ${start ?? "a fresh adapter"} | ${length}${steps} steps |`;
  });
  const commands = plan.flatMap((stage) => form.commands(stage, starts(stage.name)));
  const preference = plan.some(({ method }) => method === "dpo");
  return `# ${form.title}: MALT's training plan

LoRA on \`${baseModel}\`, ${settings.batchSize} sequences or pairs a step on one GPU. In this folder, in this order:

\`\`\`sh
${commands.join("\n")}
\`\`\`

| stage | data | rows | starts from | length |
|---|---|---:|---|---|
${rows.join("\n")}
${preference ? `\n**The reference of DPO** must be the SFT policy (paper, Section 4.3). ${form.reference}\n` : ""}
A first loss of ln 2 = 0.693 does not prove that: DPO starts there whenever policy and reference are equal, also when both
are the base model.

- On N GPUs divide the accumulation of gradients by N, so that a step still takes ${settings.batchSize} sequences.
${form.notes.map((note) => `- ${note}\n`).join("")}`;
}
