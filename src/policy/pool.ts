/**
 * Several servers of one model as one policy: each request goes to the server with the fewest requests in flight, and
 * to the others if that one is down. What it leaves out: which server has which prefix in its cache; the choices of one
 * request share theirs, and a vLLM data-parallel server, one URL for many engines, balances its engines itself.
 */
import { ServerError, UnreachableError } from "../errors.js";
import type { Complete } from "../types.js";
import type { Load } from "./load.js";
import type { Policy } from "./openai.js";

interface Member {
  policy: Policy;
  inFlight: number;
  /** Until when it is skipped, because it did not answer; milliseconds of `performance.now()`. */
  absentUntil: number;
}

/** How long a server that was down is skipped, in milliseconds, as long as there are others. */
const absence = 30_000;

/** One policy over all of them; a single policy is returned unchanged. */
export function policyPool(policies: readonly Policy[]): Policy {
  if (policies.length === 1) return policies[0]!;
  const members = policies.map((policy): Member => ({ policy, inFlight: 0, absentUntil: 0 }));

  const complete: Complete = async (request, ...listeners) => {
    const tried = new Set<Member>();
    for (;;) {
      const member = leastBusy(members.filter((each) => !tried.has(each)));
      tried.add(member);
      member.inFlight++;
      try {
        return await member.policy.complete(request, ...listeners);
      } catch (error) {
        if (!(error instanceof UnreachableError) || tried.size === members.length) throw error;
        member.absentUntil = performance.now() + absence;
      } finally {
        member.inFlight--;
      }
    }
  };

  const info = async () => {
    const all = await Promise.all(members.map(({ policy }) => policy.info()));
    const [first, ...others] = all;
    const models = first!.models.filter((model) => others.every((other) => other.models.includes(model)));
    if (models.length === 0) {
      const lists = all.map((each) => each.models.join(", ") || "none").join(" / ");
      throw new ServerError(`the servers have no model in common: ${lists}; serve one model on all of them`);
    }
    return { ...first!, models };
  };

  /** Their sum; unknown if one of them does not report its load. */
  const load = async (): Promise<Load | null> => {
    const loads = await Promise.all(members.map(({ policy }) => policy.load()));
    if (loads.some((each) => each === null)) return null;
    const known = loads as Load[];
    const caches = known.flatMap(({ cache }) => (cache === null ? [] : [cache]));
    return {
      running: known.reduce((sum, { running }) => sum + running, 0),
      waiting: known.reduce((sum, { waiting }) => sum + waiting, 0),
      cache: caches.length > 0 ? Math.max(...caches) : null,
    };
  };

  const baseURL = policies.map((policy) => policy.baseURL).join(",");
  return { baseURL, complete, load, info, models: async () => (await info()).models };
}

function leastBusy(members: readonly Member[]): Member {
  const now = performance.now();
  const present = members.filter(({ absentUntil }) => absentUntil <= now);
  const candidates = present.length > 0 ? present : members;
  return candidates.reduce((least, each) => (each.inFlight < least.inFlight ? each : least));
}
