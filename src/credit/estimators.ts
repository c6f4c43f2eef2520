/**
 * Credit estimators by name: each turns the rewards of stored trees into a credit and a label for every node, so a label
 * under another estimator never needs another sample. MALT's own is `value` (paper, Sections 4.2–4.3); the others are what the
 * literature does with the same tree. Pure; trees may have any number of roles and any shape.
 */
import { InputError } from "../errors.js";
import { probabilityBelow } from "./posterior.js";
import { counterfactual, groupNormalised, leaveOneOut, type Siblings } from "./relative.js";
import { gainOverFirst, generalisedAdvantage, lambdaReturn, standingAnswer } from "./returns.js";
import {
  backUp,
  checkOneOf,
  checkThreshold,
  type Forest,
  type Pooling,
  type ValueOptions,
  type Values,
} from "./values.js";

/** Trees in columns, as `columns` of score.ts makes them. Entry i of every array belongs to node i. */
export interface CreditTrees {
  forest: Forest;
  /** Per node a number that the nodes of one question share; without it all roots are siblings. */
  tree?: Int32Array | undefined;
  /** Per node a number that byte-identical texts share; without it all texts count as different. */
  text?: Int32Array | undefined;
  /** Per node 1 if the answer it states is right, 0 if wrong, −1 if it states none; `td`, `gae` and `gain` need it. */
  stated?: Int8Array | undefined;
}

/**
 * - `value`: the value itself, under any pooling.
 * - `rloo`, `grpo`, `coma`: {@link leaveOneOut}, {@link groupNormalised}, {@link counterfactual} advantage over the siblings.
 * - `td`: {@link lambdaReturn}; `gae`: {@link generalisedAdvantage}; `gain`: {@link gainOverFirst}.
 * - `posterior`: probability that the true value exceeds θ (posterior.ts); labels only what is certain.
 */
export type Estimator = "value" | "rloo" | "grpo" | "coma" | "td" | "gae" | "gain" | "posterior";

export interface CreditOptions extends ValueOptions {
  /** Default `value`, the paper's. */
  estimator?: Estimator;
  /**
   * θ, compared strictly with the credit; of `posterior` with the true value. Default 0.5, as in the paper; 0 of an
   * advantage or a gain: better than what it is compared with.
   */
  threshold?: number;
  /** λ of `td` and `gae` in [0, 1]. Default 0.95, Schulman's; 1 gives the critic no say. */
  lambda?: number;
  /** Probability that a label of `posterior` must have, in (0.5, 1). Default 0.9; other nodes get no label. */
  confidence?: number;
  /** Effective leaves by depth for `posterior`, from the whole run; default those of these trees. */
  effective?: readonly number[] | undefined;
}

/** What is known of an estimator without running it. */
interface Description {
  /** Least and largest θ. */
  range: readonly [number, number];
  /** Default θ. */
  threshold: number;
  /** Poolings of the values it starts from. */
  poolings: readonly Pooling[];
}

const anyValue: readonly Pooling[] = ["mean", "leaf-mean", "max"];
const relative: Description = { range: [-1, 1], threshold: 0, poolings: anyValue };

/** All estimators, the paper's first. Local pooling is about labels of values, so only `value` has it. */
export const estimators: Readonly<Record<Estimator, Description>> = {
  value: { range: [0, 1], threshold: 0.5, poolings: [...anyValue, "local"] },
  rloo: relative,
  grpo: { ...relative, range: [-100, 100] },
  coma: relative,
  td: { range: [0, 1], threshold: 0.5, poolings: ["mean"] },
  gae: { ...relative, poolings: ["mean"] },
  gain: relative,
  posterior: { range: [0, 1], threshold: 0.5, poolings: ["mean", "leaf-mean"] },
};

/** Names of all estimators. */
export const estimatorNames = Object.keys(estimators) as readonly Estimator[];

/** Every option of an estimator, defaults filled in. */
export type CreditRules = Required<Omit<CreditOptions, "effective">>;

/**
 * Fills in the defaults.
 * @throws InputError on an unknown estimator, a pooling it is not defined for, or a number out of range
 */
export function creditRules(options: CreditOptions = {}): CreditRules {
  const { estimator = "value", pooling = "mean", incomplete = "skip", lambda = 0.95, confidence = 0.9 } = options;
  checkOneOf("estimator", estimator, estimatorNames);
  const known = estimators[estimator];
  const { threshold = known.threshold } = options;
  if (estimator === "value") checkThreshold(threshold);
  const [least, most] = known.range;
  if (!(threshold >= least && threshold <= most))
    throw new InputError(
      `threshold is ${threshold}; give a number from ${least} to ${most} for estimator "${estimator}" (default ${known.threshold})`,
    );
  checkOneOf(estimator === "value" ? "pooling" : `pooling for estimator "${estimator}"`, pooling, known.poolings);
  if (!(lambda >= 0 && lambda <= 1)) throw new InputError(`lambda is ${lambda}; give a number from 0 to 1`);
  if (!(confidence > 0.5 && confidence < 1))
    throw new InputError(`confidence is ${confidence}; give a probability above 0.5 and below 1, such as 0.9`);
  return { estimator, threshold, pooling, incomplete, lambda, confidence };
}

/**
 * Credits every node under one estimator.
 * @returns `value` is the credit, in the estimator's range, NaN where there is none; `label` 1 where it exceeds θ, 0 where
 * not, −1 without a credit or where `posterior` is not certain
 * @throws InputError as {@link creditRules}, and where a column is missing or has another length
 */
export function assignCredit(trees: CreditTrees, options: CreditOptions = {}): Values {
  const rules = creditRules(options);
  const { estimator, threshold, confidence } = rules;
  const { forest, tree, text, stated } = trees;
  for (const [name, array] of Object.entries({ tree, text, stated }))
    if (array && array.length !== forest.parent.length)
      throw new InputError(`${name} has ${array.length} entries for ${forest.parent.length} nodes; give one per node`);
  const values = backUp(forest, { ...rules, threshold: estimator === "value" ? threshold : 0.5 });
  if (estimator === "value") return values;
  const value = creditOf(trees, values.value, rules, options.effective);
  const label = new Int8Array(value.length);
  for (let i = 0; i < value.length; i++) {
    const credit = value[i]!;
    if (Number.isNaN(credit)) label[i] = -1;
    else if (estimator === "posterior") label[i] = credit >= confidence ? 1 : 1 - credit >= confidence ? 0 : -1;
    // A difference of equal fractions may leave rounding, which must not pass the strict comparison.
    else label[i] = Number(credit - threshold > 1e-9);
  }
  return { value, label, complete: values.complete };
}

function creditOf(
  { forest, tree, text, stated }: CreditTrees,
  value: Float64Array,
  { estimator, threshold, lambda }: CreditRules,
  effective?: readonly number[],
): Float64Array {
  const { parent } = forest;
  const siblings: Siblings = { parent, value, tree, text };
  const critic = () => {
    if (stated) return standingAnswer(parent, stated);
    throw new InputError(`estimator "${estimator}" needs to know which nodes state a right answer; give \`stated\``);
  };
  switch (estimator) {
    case "rloo":
      return leaveOneOut(siblings);
    case "grpo":
      return groupNormalised(siblings);
    case "coma":
      return counterfactual(siblings);
    case "td":
      return lambdaReturn(forest, value, critic(), lambda);
    case "gae":
      return generalisedAdvantage(forest, value, critic(), lambda, tree);
    case "gain":
      return gainOverFirst(forest, value, critic());
    case "posterior": {
      const below = probabilityBelow(parent, value, effective);
      return value.map((_, i) => 1 - below(i, threshold));
    }
    default:
      return value;
  }
}
