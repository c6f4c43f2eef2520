/** The worker of `malt grade`: answers each case with its verdict. */
import { parentPort } from "node:worker_threads";
import { type GradeCase, gradeCase } from "../answers/case.js";
import type { ExtractionMode } from "../answers/index.js";

parentPort!.on("message", (row: GradeCase & { extraction?: ExtractionMode }) =>
  parentPort!.postMessage(gradeCase(row, row.extraction)),
);
parentPort!.postMessage("ready");
