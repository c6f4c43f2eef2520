/**
 * What a page of the explorer is made of: a frame in which only its own script may act, and parts that hold data. Reading
 * of the built script and style; leaves out what the parts say (page.ts).
 */
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { deflateRawSync } from "node:zlib";
import { RunError } from "../errors.js";
import { explorerBundle } from "../paths.js";

/** The page's own program and style, as scripts/build.mjs makes them. @throws RunError where they are not */
export async function bundle(view: keyof typeof explorerBundle.scripts): Promise<[script: string, style: string]> {
  const paths = [explorerBundle.scripts[view], explorerBundle.style] as const;
  for (const path of paths)
    if (!existsSync(path)) throw new RunError(`the explorer has not been built (no ${path}); run: npm run build`);
  return [await readFile(paths[0], "utf8"), await readFile(paths[1], "utf8")];
}

/** Nothing but this script and this style may act, and nothing is ever fetched. */
export function head(script: string, style: string): string {
  const hash = (text: string) => `'sha256-${createHash("sha256").update(text).digest("base64")}'`;
  const policy = [
    "default-src 'none'",
    `script-src ${hash(script)}`,
    `style-src ${hash(style)}`,
    "base-uri 'none'",
    "form-action 'none'",
  ].join("; ");
  return [
    '<!doctype html><html lang="en"><head><meta charset="utf-8">',
    `<meta http-equiv="Content-Security-Policy" content="${policy}">`,
    '<meta name="referrer" content="no-referrer"><meta name="viewport" content="width=device-width, initial-scale=1">',
    `<title>Run explorer</title><style>${style}</style></head><body>`,
    "<noscript>This page needs JavaScript. It runs only its own script, and fetches nothing.</noscript>",
    '<div id="app"><p class="loading">The run is being opened …</p></div>\n',
  ].join("\n");
}

/** A part of the page: base64 has no character that HTML knows, and the element is data, which no browser runs. */
const element = (id: string, bytes: Uint8Array): string =>
  `<script type="application/octet-stream" id="${id}">${deflateRawSync(bytes, { level: 9 }).toString("base64")}</script>\n`;
export const packed = (id: string, value: unknown): string => element(id, Buffer.from(JSON.stringify(value)));
export const packedColumn = (id: string, { buffer, byteOffset, byteLength }: ArrayBufferView): string =>
  element(id, new Uint8Array(buffer, byteOffset, byteLength));
