/**
 * A state of a tree and the requests for its children: what a role sees, under which seeds it is sampled and which keys
 * its completions have. Pure.
 */
import { createHash } from "node:crypto";
import { sorted } from "../json.js";
import { messages, type PromptSet } from "../team/prompts.js";
import type {
  Completion,
  CompletionRequest,
  JournalEntry,
  PolicyId,
  Question,
  Role,
  Sampling,
  Turn,
} from "../types.js";

/** A state of one role, and its children to be. */
export interface State {
  question: Question;
  /** Node id of the last turn, null at the question. */
  parent: string | null;
  turns: readonly Turn[];
  role: Role;
  request: CompletionRequest;
  /** Node ids and journal keys of the children, by branch. */
  nodes: string[];
  keys: string[];
}

/** What the states of one run have in common. */
export interface Setting {
  /** Depth d of a tree is spoken by role d. */
  roles: readonly Role[];
  promptSet: PromptSet;
  /** One policy for the whole team, or one for each role. */
  policy: PolicyId | ((role: Role) => PolicyId);
  sampling: Sampling;
  /** The run's seed; every request's own seed derives from it. */
  seed: number;
}

/** The state after some turns of a question; null after the last role's. */
export function stateAt(
  { roles, promptSet, policy: policies, sampling, seed: runSeed }: Setting,
  question: Question,
  parent: string | null,
  turns: readonly Turn[],
): State | null {
  const role = roles[turns.length];
  if (!role) return null;
  const n = role.branching;
  const policy = typeof policies === "function" ? policies(role) : policies;
  const seed = requestSeed(runSeed, question.id, parent, role.name);
  const request = { policy, messages: messages(promptSet, role, question, turns), n, seed, sampling };
  const nodes = Array.from({ length: n }, (_, i) => childId(parent, role, i));
  const keys = nodes.map((node, i) => nodeKey({ ...request, seed: seed + i, questionId: question.id, nodeId: node }));
  return { question, parent, turns, role, request, nodes, keys };
}

/** The journal's line for one child of a state. */
export function entryOf(state: State, branch: number, completion: Completion): JournalEntry {
  return {
    key: state.keys[branch]!,
    question_id: state.question.id,
    node_id: state.nodes[branch]!,
    role: state.role.name,
    seed: state.request.seed + branch,
    model: state.request.policy.model,
    ...completion,
  };
}

/** Children of a state that follow each other: `n` of them from the branch `first` on. */
export interface Stretch {
  first: number;
  n: number;
}

/** Branches in rising order as the fewest stretches. */
export function stretches(branches: readonly number[]): Stretch[] {
  const found: Stretch[] = [];
  for (const branch of branches) {
    const last = found.at(-1);
    if (last && branch === last.first + last.n) last.n++;
    else found.push({ first: branch, n: 1 });
  }
  return found;
}

/** Requests of one full tree: 1 + n + n² for three roles. */
export function statesPerTree(roles: readonly Role[]): number {
  let [states, nodes] = [0, 1];
  for (const { branching } of roles) {
    states += nodes;
    nodes *= branching;
  }
  return states;
}

/** Node id of a child: `g0`, `g0.v2`, `g0.v2.r1`. */
export function childId(parent: string | null, role: Role, branch: number): string {
  const step = `${role.name[0]}${branch}`;
  return parent === null ? step : `${parent}.${step}`;
}

/**
 * Seed of the request for a state: a hash of its place in the tree, so that it does not depend on the order of sampling
 * and differs between siblings. Choice i of the request is sampled with seed + i, as vLLM and llama.cpp do themselves.
 * @returns an integer in [0, 2³¹ − 2¹⁰), so that the choices' seeds fit 31 bits too
 */
export function requestSeed(runSeed: number, questionId: string, parentId: string | null, role: string): number {
  const digest = createHash("sha256")
    .update(JSON.stringify([runSeed, questionId, parentId, role]))
    .digest();
  return digest.readUInt32BE(0) % (2 ** 31 - 2 ** 10);
}

/** What identifies a completion; see {@link nodeKey}. */
export interface NodeIdentity extends Pick<CompletionRequest, "policy" | "messages" | "sampling"> {
  /** The choice's own seed. */
  seed: number;
  questionId: string;
  nodeId: string;
}

/** The journal's key: SHA-256 over model, adapter, messages, sampling parameters, seed, question and path. */
export function nodeKey({ policy, messages, sampling, seed, questionId, nodeId }: NodeIdentity): string {
  const said = messages.map(({ content, role }) => `{"content":${JSON.stringify(content)},"role":"${role}"}`);
  const identity =
    `{"messages":[${said}],"nodeId":${JSON.stringify(nodeId)},"policy":${text(policy)},` +
    `"questionId":${JSON.stringify(questionId)},"sampling":${text(sampling)},"seed":${seed}}`;
  return createHash("sha256").update(identity).digest("hex");
}

/** JSON with sorted keys. Policies and parameters are few and long-lived, and sorting costs more than hashing. */
function text(value: object): string {
  const known = texts.get(value) ?? JSON.stringify(value, sorted);
  texts.set(value, known);
  return known;
}
const texts = new WeakMap<object, string>();
