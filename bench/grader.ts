/**
 * The grader against Math-Verify on the same cases in the same run: agreement with the expected verdicts, total time,
 * median and worst case. Each case is timed by itself. Our time is the median of several rounds after a warm-up round;
 * Math-Verify, for which several rounds take minutes, has one round only. Plain comparison of texts is measured beside
 * both, and the flexible mode of extraction beside the strict one.
 *
 * The cases are the project's own, and with MALT_BENCHMARKS (or ../shared/data) those of other graders' test suites.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { caseGraders, confusion, type GraderCase, loadCases, mathVerify, ownCases } from "../src/evaluate/graders.js";
import { percent } from "../src/format.js";
import { middle, type Result } from "./run.js";

const rounds = 7;
const shared = join(process.env.MALT_BENCHMARKS ?? join(import.meta.dirname, "../../shared/data"), "graders");

/**
 * Verdicts and, per case, the median time in ms. Each round goes over all cases, as Math-Verify's does: one case several
 * times in a row takes about three quarters of the time, because its code and data are still in the cache.
 */
function measure(
  cases: readonly GraderCase[],
  grader: (row: GraderCase) => boolean,
): { equal: boolean[]; ms: number[] } {
  const equal = cases.map(grader);
  const times = cases.map((): number[] => []);
  for (let round = 0; round < rounds; round++) {
    for (const [i, row] of cases.entries()) {
      const start = performance.now();
      grader(row);
      times[i]!.push(performance.now() - start);
    }
  }
  return { equal, ms: times.map(middle) };
}

const total = (times: readonly number[]): number => times.reduce((sum, ms) => sum + ms, 0);

/** "99.8 % agree, 0.1 % of the different called equal, 0.2 % of the equal called different, 25000 cases/s" */
function summary(cases: readonly GraderCase[], equal: readonly boolean[], ms: readonly number[]): string {
  const { agreement, falsePositiveRate, missRate } = confusion(cases, equal).at(-1)!;
  const rate = Math.round((1_000 * cases.length) / total(ms));
  return (
    `${percent(agreement)} agree, ${percent(falsePositiveRate)} of the different called equal, ` +
    `${percent(missRate)} of the equal called different, ${rate} cases/s`
  );
}

export async function run(): Promise<Result[]> {
  const sets: [name: string, files: string[]][] = [
    ["own cases", [ownCases]],
    [
      "cases of other graders' test suites",
      ["grader-cases.jsonl", "grader-real.jsonl"].map((name) => join(shared, name)),
    ],
  ];
  const results: Result[] = [];
  for (const [name, files] of sets) {
    const found = files.filter((file) => existsSync(file));
    if (found.length > 0)
      results.push(...(await compared(name, (await Promise.all(found.map((file) => loadCases(file)))).flat())));
  }
  return results;
}

async function compared(name: string, cases: readonly GraderCase[]): Promise<Result[]> {
  const ours = measure(cases, caseGraders.malt!);
  const flexible = measure(cases, caseGraders.flexible!);
  const plain = measure(cases, caseGraders["same text"]!);
  const about = (grader: string, { equal, ms }: { equal: boolean[]; ms: number[] }) =>
    `${grader} (${summary(cases, equal, ms)})`;
  const against = (
    what: string,
    peer: string,
    peerMs: number[],
    pick: (times: readonly number[]) => number,
  ): Result => ({
    ...{ name: `${cases.length} ${name}, ${what}`, ms: pick(ours.ms), peer, peerMs: pick(peerMs) },
  });
  const results = [
    against(about("this grader, strict extraction", ours), about("comparing texts", plain), plain.ms, total),
    {
      ...{ name: `${cases.length} ${name}, ${about("flexible extraction", flexible)}`, ms: total(flexible.ms) },
      ...{ peer: "strict extraction", peerMs: total(ours.ms) },
    },
  ];
  const verdicts = await mathVerify(cases);
  if (!verdicts) {
    process.stderr.write("grader: Math-Verify is not installed: npm run setup -- --extra grader\n");
    return results;
  }
  const peer = { equal: verdicts.map(({ equal }) => equal), ms: verdicts.map(({ ms }) => ms) };
  return [
    ...results,
    against("all", about("Math-Verify", peer), peer.ms, total),
    against("the median case", "Math-Verify", peer.ms, middle),
    against("the slowest case", "Math-Verify", peer.ms, (times) => Math.max(...times)),
  ];
}
