/** Numbers as people read them. Pure. */

/** Seconds as 42 s, 7 min or 3.2 h, rounded up to whole seconds below a minute and a half. */
export function duration(seconds: number): string {
  if (seconds < 90) return `${Math.ceil(seconds)} s`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}

/** A share as text; a dash for NaN, the share of nothing. */
export const percent = (share: number): string => (Number.isNaN(share) ? "–" : `${(100 * share).toFixed(1)} %`);

/** A number with commas between its thousands. */
export const thousands = (n: number): string => n.toLocaleString("en-US");

/** Bytes in the largest unit that leaves no more than three digits before the point: 95 MB, 1.1 GB. */
export function byteSize(bytes: number): string {
  if (bytes >= 1e9) return `${(bytes / 1e9).toFixed(1)} GB`;
  return bytes >= 1e6 ? `${(bytes / 1e6).toFixed(0)} MB` : `${(bytes / 1e3).toFixed(0)} kB`;
}
