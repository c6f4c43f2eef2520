// How much work fits into the time. The rule: sampling may take 25 % of the time, training 30 %, and evaluation three
// quarters of what is left then. The rest is for starting the server, the report and the small runs that are timed first.
// Pure.

/** Completions of one question's tree: 3 answers, 9 critiques, 27 refinements. */
const perTree = 3 + 9 + 27;
const share = { sampling: 0.25, training: 0.3, evaluation: 0.75 };
/** Questions per seed and seeds of an evaluation: the paper's. */
const paper = { size: 100, seeds: 4 };
/** What a DPO step costs in SFT steps: two texts in place of one, each under the reference too. */
const dpoCost = 3;
const mostEpochs = 4;

/**
 * Training questions whose trees can be sampled.
 * @param seconds of the whole script
 * @param pace completions per second
 * @param most there are
 */
export const treesFor = (seconds, pace, most) => within(1, (share.sampling * seconds * pace) / perTree, most);

/**
 * What a first, small stage tells about training: the seconds of a step, and those of everything around the steps. The
 * quickest step counts, because a GPU's kernels are loaded in the others.
 * @param metrics the trainer's rows, one per step, with seconds since the first step began
 * @param total seconds that `malt train` took
 */
export function trainingPace(metrics, total) {
  const step = Math.min(...metrics.map(({ seconds }, i) => seconds - (metrics[i - 1]?.seconds ?? 0)));
  return { step, around: Math.max(0, total - metrics.length * step) };
}

/**
 * Passes over the data of every stage, from 1 to 4: as many as fit.
 * @param seconds of the whole script
 * @param pace see {@link trainingPace}
 * @param steps of one pass over all data, by method
 * @param stages how many there are to train, one after another in processes that are loaded once; what is around the steps
 *   of each is taken to be a quarter of what was around those of the first
 */
export function epochsFor(seconds, { step, around }, steps, stages) {
  const left = share.training * seconds - around * (1 + stages / 4);
  return within(1, left / (step * (steps.sft + dpoCost * steps.dpo)), mostEpochs);
}

/**
 * Held-out questions per seed, and seeds: first more questions, up to the paper's 100, then more seeds, up to its 4.
 * @param left seconds to the end
 * @param pace questions per second, of all systems
 * @param most questions there are
 */
export function evaluationFor(left, pace, most) {
  const questions = share.evaluation * left * pace;
  const size = within(1, questions, Math.min(paper.size, most));
  return { size, seeds: within(1, questions / size, paper.seeds) };
}

/** Longest completion, in tokens: a quarter of the model's context, at most 512. */
export const maxTokensFor = (context) => within(16, context / 4, 512);

/** A whole number from `least` to `most`, the lower of its neighbours. */
const within = (least, x, most) => Math.max(Math.min(least, most), Math.min(most, Math.floor(x)));
