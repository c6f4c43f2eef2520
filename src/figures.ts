/**
 * Every figure of the notebooks as an Observable Plot specification: plain rows in, `Plot.PlotOptions` out. Pure: no
 * DOM, no files; `display.ts` draws them, and Plot itself draws them in a browser.
 */
export { ablationFigure, systemsFigure, tokensFigure } from "./figures/evaluation.js";
export { type LimitPoint, limitFigure } from "./figures/limit.js";
export { accuracyFigure, critiqueFigure, lengthFigure } from "./figures/outputs.js";
export { agreementFigure, difficultyFigure, type PairCount, pairCountFigure } from "./figures/questions.js";
export { type SlotInterval, slotsFigure } from "./figures/slots.js";
export { roleColors } from "./figures/style.js";
export { logProbFigure, lossFigure, marginFigure } from "./figures/training.js";
export { treeFigure } from "./figures/tree.js";
export { flipsFigure, turnsFigure } from "./figures/turns.js";
export { type ThresholdMeasure, thresholdFigure, valueFigure } from "./figures/values.js";
export { percent } from "./stats.js";
