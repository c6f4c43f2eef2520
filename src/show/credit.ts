/** What credit assignment is worth, as text tables: errors of the estimators, and the roles' shares in what training gained. */
import type { EstimatorError } from "../credit/estimator-error.js";
import type { RoleShare } from "../evaluate/shapley.js";
import { percent } from "../format.js";
import { alignedTable } from "./text-table.js";

const signed = (x: number): string => (Number.isNaN(x) ? "–" : (Math.abs(x) < 5e-4 ? 0 : x).toFixed(3));

/** One line per estimator and role. */
export function estimatorTable(errors: readonly EstimatorError[], n: number): string {
  const head = ["estimator", "role", "target", "bias", "interval", "bias of a node", "deviation", "labelled", "wrong"];
  const rows = errors.map((e) => [
    e.name,
    e.role,
    e.target,
    signed(e.bias.mean),
    `${signed(e.bias.low)} to ${signed(e.bias.high)}`,
    e.nodeBias?.toFixed(3) ?? "–",
    e.deviation.toFixed(3),
    percent(e.labelled),
    percent(e.wrong),
  ]);
  const note =
    `Credit from ${n} children and ${n - 1} other siblings against what the other branches say (a label of which is a mean of few too). ` +
    "Deviation is that of one estimate; bias of a node is a root mean square.";
  return `${alignedTable(head, rows)}\n\n${note}`;
}

/** One line per role, and their sum. */
export function shareTable(shares: readonly RoleShare[]): string {
  const points = (x: number) => (Number.isNaN(x) ? "–" : (100 * x).toFixed(1));
  const rows = shares.map(({ role, share }) => [
    role,
    points(share.mean),
    `${points(share.low)} to ${points(share.high)}`,
  ]);
  const total = shares.reduce((sum, { share }) => sum + share.mean, 0);
  const head = ["training of", "points of accuracy", "interval"];
  return `Shapley values over all mixes of trained and untrained roles:\n\n${alignedTable(head, [...rows, ["all", points(total), ""]])}`;
}
