/** Numbers as people read them. Pure. */

/** Seconds as 42 s, 7 min or 3.2 h, rounded up to whole seconds below a minute and a half. */
export function duration(seconds: number): string {
  if (seconds < 90) return `${Math.ceil(seconds)} s`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}

/** A share as text; a dash for NaN, the share of nothing. */
export const percent = (share: number): string => (Number.isNaN(share) ? "–" : `${(100 * share).toFixed(1)} %`);
