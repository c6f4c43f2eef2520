/**
 * Every figure of the notebooks as an Observable Plot specification: plain rows in, `Plot.PlotOptions` out. Pure: no
 * DOM, no files; `show/` draws them, and Plot itself draws them in a browser.
 */

export { type CurvePoint, curvesFigure } from "./curves.js";
export { estimatorFigure } from "./estimators.js";
export { ablationFigure, systemsFigure, tokensFigure } from "./evaluation.js";
export { type LimitPoint, limitFigure } from "./limit.js";
export { accuracyFigure, critiqueFigure, lengthFigure } from "./outputs.js";
export { agreementFigure, difficultyFigure, type PairCount, pairCountFigure } from "./questions.js";
export { slotsFigure } from "./slots.js";
export { studyFigure } from "./study.js";
export { roleColors } from "./style.js";
export { logProbFigure, lossFigure, marginFigure } from "./training.js";
export { treeFigure } from "./tree.js";
export { flipsFigure, turnsFigure } from "./turns.js";
export { type ThresholdMeasure, thresholdFigure, valueFigure } from "./values.js";
