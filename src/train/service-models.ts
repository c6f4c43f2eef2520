/** The models that a fine-tuning service has made of a run, as adapters by name: each is asked for as a model of its own. */
import { InputError, RunError } from "../errors.js";
import { hash } from "../run/manifest.js";
import { readServiceState } from "./service-state.js";

/** What a service serves for a run. */
export interface ServiceModels {
  /** Base URL. */
  service: string;
  /** The service's name of the model that all started from. */
  base: string;
  /** Served name by stage, such as `verifier-dpo`. */
  names: ReadonlyMap<string, string>;
  /** In place of the weights' hash, which no service tells: that of the service and the name, which it gives to one training only. */
  sha256: ReadonlyMap<string, string>;
}

/**
 * Reads train/service.json.
 * @throws RunError if the run was given to no service; InputError if its jobs started from several models
 */
export async function serviceModels(dir: string, run: string): Promise<ServiceModels> {
  const state = await readServiceState(dir);
  if (!state)
    throw new RunError(`run "${run}" was trained at no service; train it with \`malt train --run ${run} --on openai\``);
  const stages = Object.entries(state.stages);
  const names = new Map(
    stages.flatMap(([name, { fine_tuned_model: model, status }]) =>
      status === "succeeded" && model !== null ? [[name, model] as const] : [],
    ),
  );
  const made = new Set([...names.values(), ...state.earlier.map(({ fine_tuned_model: model }) => model)]);
  const bases = new Set(stages.map(([, { model }]) => model).filter((model) => !made.has(model)));
  const [base, other] = bases;
  if (base === undefined || other !== undefined)
    throw new InputError(
      `the jobs of run "${run}" started from ${[...bases].join(" and ") || "no model"}; name the base model with --model`,
    );
  const sha256 = new Map([...names].map(([name, model]) => [name, hash(`${state.service}\n${model}`)]));
  return { service: state.service, base, names, sha256 };
}
