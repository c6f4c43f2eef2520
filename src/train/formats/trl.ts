/** A plan as this project's own files (stage-file.ts) with the script that runs them: for a machine that has TRL alone. Pure. */

import { stageFile } from "../stage-file.js";
import { trainerPrograms } from "../work.js";
import type { TrainerForm } from "./form.js";

export const trl: TrainerForm = {
  title: "TRL 1.16 with PEFT 0.21",
  row: (row) => row,
  stage: (stage, options) => stageFile(stage, { ...options, trainer: "train.py" }),
  others: () => ({}),
  scripts: trainerPrograms,
  commands: ({ name }) => [`python train.py ${name}.yaml`],
  reference:
    "train.py gives DPOTrainer the SFT adapter as the policy, of which TRL keeps a frozen copy as the reference, and compares " +
    "both with the SFT adapter's own log-probabilities before the first step. Plain `trl dpo` would put a fresh adapter on the " +
    "base model and take the base model as the reference.",
  notes: [
    "An interrupted stage goes on from its last checkpoint with the same command; stages that are done are skipped.",
  ],
};
