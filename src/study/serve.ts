/** What serves a model while a study samples or evaluates. */
import { startServer } from "../models/embedded.js";
import type { Model } from "../models/table.js";
import { openaiPolicy, type Policy } from "../policy/openai.js";
import { ggufOf, type TrainedAdapter } from "../train/adapters.js";

/** A model that answers. */
export interface ServedModel {
  policy: Policy;
  /** Its served name. */
  model: string;
  stop(): Promise<void>;
}

/** Starts serving a model with some trained adapters, or says where it is served. */
export type Serve = (what: { model: Model; adapters: readonly TrainedAdapter[] }) => Promise<ServedModel>;

/** The embedded server. @throws InputError for an adapter that was not written for it, and as startServer */
export const serveEmbedded: Serve = async ({ model, adapters }) => {
  const server = await startServer({ model, adapters: adapters.map(ggufOf) });
  return { policy: openaiPolicy(server), model: server.model, stop: () => server.stop() };
};

/** A server that is started when something is first asked of it. */
export function whenAsked(start: () => Promise<ServedModel>): { policy: Policy; stop(): Promise<void> } {
  let starting: Promise<ServedModel> | null = null;
  let served: ServedModel | null = null;
  const policy = async (): Promise<Policy> => {
    starting ??= start();
    served = await starting;
    return served.policy;
  };
  return {
    policy: {
      get baseURL() {
        return served?.policy.baseURL ?? "a server that was not started";
      },
      get weights() {
        return served?.policy.weights;
      },
      complete: async (...request) => (await policy()).complete(...request),
      models: async () => (await policy()).models(),
      info: async () => (await policy()).info(),
      load: async () => (await policy()).load(),
    },
    stop: async () => (await starting?.catch(() => null))?.stop(),
  };
}
