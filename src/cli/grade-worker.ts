/** The worker of `malt grade`: answers each case with its verdict. */
import { parentPort } from "node:worker_threads";
import { type GradeCase, gradeCase } from "../answers/case.js";

parentPort!.on("message", (row: GradeCase) => parentPort!.postMessage(gradeCase(row)));
parentPort!.postMessage("ready");
