/**
 * Who says whether an intermediate turn is right. The paper plots "test accuracy at each turn" and had GPT-4 "rate the
 * correctness of each step" (Section 5.2, Figure 3), without its prompt. Here a turn is by default read by the answer it
 * states itself; a language model can be asked instead, through the same interface. Scope: turns before a system's last.
 * The last turn's answer is the system's, and always extracted by rule (Section 4.1: "a fixed deterministic function T").
 */
import PQueue from "p-queue";
import { approves } from "../answers/approval.js";
import { answerKind, canonical, type ExtractionMode, gradeText, ownText } from "../answers/index.js";
import { ServerError } from "../errors.js";
import { type Policy, requireModel } from "../policy/openai.js";
import { openJournal } from "../run/journal.js";
import { circuitBreaker } from "../sample/circuit-breaker.js";
import { nodeKey, requestSeed } from "../sample/state.js";
import { questionText } from "../team/prompts.js";
import type { JournalEntry, Message, Question, Role, Sampling, Turn } from "../types.js";

/** What was found in a turn. */
export interface Reading {
  /** The answer it means; null if none can be told. */
  answer: string | null;
  /** Whether the turn is right; null without a verdict. A model can rate a turn wrong that states no answer. */
  correct: boolean | null;
}

/** Reads the turns of a team. */
export interface Judge {
  /** What reads, for run.json. */
  readonly about: { kind: "own" } | { kind: "llm"; model: string; base_url: string; prompt: string };
  /**
   * @param before the earlier turns of the pass, oldest first; a critique is about one of them
   * @throws ServerError if a model is asked and does not answer
   */
  read(question: Question, role: Role, text: string, before?: readonly Turn[]): Promise<Reading>;
}

/**
 * Every turn by the answer it states itself, a critique too. A critique without one that approves what it read (see
 * approval.ts) means the answer it approves.
 * @param mode which answers count, see `extract`
 */
export const ownAnswerIn = (mode: ExtractionMode): Judge => ({
  about: { kind: "own" },
  async read(question, role, text, before = []) {
    const own = gradeText(question, text, mode);
    if (own.answer !== null || role.template !== "verifier" || !approves(text)) return own;
    const solution = before.findLast((turn) => turn.role === role.answer);
    return solution ? gradeText(question, solution.text, mode) : own;
  },
});
export const ownAnswer: Judge = ownAnswerIn("strict");

export interface LlmJudgeOptions {
  /** Folder for its verdicts, `<run>/evaluation/judge`: a turn is judged only once. */
  dir: string;
  policy: Policy;
  model: string;
  /** Requests in flight, ≥ 1; 8 by default. */
  concurrency?: number;
  signal?: AbortSignal;
}

/** Greedy, and nothing beyond the OpenAI API, so that the models behind it take the request too. */
const sampling: Sampling = {
  temperature: 0,
  top_p: 1,
  max_tokens: 256,
  presence_penalty: 0,
  frequency_penalty: 0,
  extra: {},
};

/**
 * The judge's task. A critique states no answer of its own in the paper, so the judge says which answer it supports, and
 * is shown the turns before it, which it is about.
 */
export function judgePrompt(question: Question, role: Role, text: string, before: readonly Turn[] = []): Message[] {
  const earlier = before.map((turn) => `Earlier, the ${turn.role} wrote:\n${turn.text}\n\n`).join("");
  const content =
    `Rate one step of a team that solves a problem: the ${role.name}'s.\n\n` +
    `Problem:\n${questionText(question)}\n\nReference answer: ${question.answer}\n\n${earlier}` +
    `Step of the ${role.name}:\n${text}\n\n` +
    `Is the answer that the ${role.name}'s step holds to be right the same as the reference answer? A step that criticises ` +
    "a solution counts by the answer it ends up supporting: the solution's if it finds no fault, else its correction. " +
    'Finish with one line, "Verdict: correct" or "Verdict: incorrect".';
  return [{ role: "user", content }];
}

/** The judge's task with placeholders, for run.json; each turn before the step is shown like the one here. */
function promptTemplate(): string {
  const question = {
    id: "",
    benchmark: "",
    split: "test",
    question: "{question}",
    choices: null,
    answer: "{reference}",
  };
  const role = { name: "{role}", template: "generator", answer: null, critique: null, branching: 1 };
  const before = [{ role: "{earlier role}", text: "{earlier text}" }];
  return judgePrompt(question as Question, role as Role, "{text}", before)[0]!.content;
}

/**
 * The last verdict in a judge's reply outside of its thoughts, a bare word included; null if there is none, or if it is
 * a question or a choice of both ("Verdict: correct or incorrect").
 */
export function parseVerdict(reply: string): boolean | null {
  const said = ownText(reply) ?? "";
  const both = /verdict\W{1,6}(correct|incorrect)\b(\W{1,4}or\W{1,4}(?:verdict\W{1,6})?(?:in)?correct\b|\s*[/|?])?/gi;
  const last = [...said.matchAll(both)].at(-1) ?? /^\W*(correct|incorrect)\W*$/i.exec(said);
  return last && !last[2] ? last[1]!.toLowerCase() === "correct" : null;
}

/**
 * A language model as judge. A turn rated correct means the reference answer; one rated incorrect the answer it states or
 * approves, or none if it states none or the reference. A turn without a clear verdict does not vote; see rows.ts for how
 * verdicts are counted. The caller closes it.
 * @throws RunError if another process writes its verdicts
 */
export async function llmJudge(options: LlmJudgeOptions): Promise<Judge & { close(): Promise<void> }> {
  const { policy, model, concurrency = 8, signal } = options;
  const journal = await openJournal(options.dir);
  const queue = new PQueue({ concurrency });
  const asked = new Map<string, Promise<string>>();
  const speaker = { model, adapter: null };
  const breaker = circuitBreaker(journal.completions > 0);
  let end: ServerError | null = null;

  const ask = async (key: string, question: Question, role: Role, messages: Message[], seed: number) => {
    signal?.throwIfAborted();
    if (end) throw end;
    await requireModel(model, policy);
    const request = { policy: speaker, messages, n: 1, seed, sampling };
    const [said] = await policy
      .complete(request, signal)
      .catch((error) => {
        if (error instanceof ServerError) end ??= breaker.failed(error, question.id, queue.pending - 1);
        throw error;
      })
      .finally(() => (breaker.isHalfOpen && !end ? queue.pause() : queue.start()));
    breaker.succeeded();
    queue.start();
    const about = { question_id: question.id, node_id: "judge", role: role.name, seed, model };
    const entry: JournalEntry = { key, ...about, ...said! };
    await journal.append([entry]);
    return entry.text;
  };

  const find = async (key: string, questionId: string, otherwise: () => Promise<string>) => {
    const kept = (await journal.kept(questionId)).find((entry) => entry.key === key);
    return kept ? kept.text : queue.add(otherwise);
  };

  return {
    about: { kind: "llm", model, base_url: policy.baseURL, prompt: promptTemplate() },
    async read(question, role, text, before = []) {
      const messages = judgePrompt(question, role, text, before);
      const seed = requestSeed(0, question.id, null, "judge");
      const key = nodeKey({ policy: speaker, messages, sampling, seed, questionId: question.id, nodeId: "judge" });
      const reply = asked.get(key) ?? find(key, question.id, () => ask(key, question, role, messages, seed));
      asked.set(key, reply);
      const correct = parseVerdict(await reply);
      const own = await ownAnswer.read(question, role, text, before);
      if (correct) return { answer: canonical(question.answer, answerKind(question)) ?? question.answer, correct };
      return { answer: correct === null || own.correct ? null : own.answer, correct };
    },
    async close() {
      queue.clear();
      await queue.onIdle();
      await journal.close();
    },
  };
}
