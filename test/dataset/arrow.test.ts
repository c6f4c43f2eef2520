import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as arrow from "apache-arrow";
import { afterAll, describe, expect, it } from "vitest";
import { arrowFile } from "../../src/dataset/arrow.js";
import { tables } from "../../src/dataset/tables.js";
import type { Node } from "../../src/types.js";
import { forest } from "../forest.js";

const scratch = mkdtempSync(join(tmpdir(), "malt-arrow-"));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));
const path = join(scratch, "trees.arrow");

function written(parts: readonly (readonly Node[])[]): Buffer {
  const file = arrowFile(path);
  for (const part of parts) file.write(part);
  file.finish();
  file.close();
  return readFileSync(path);
}

/** The same file by Arrow's general builders, from all rows at once. */
function general(nodes: readonly Node[]): Uint8Array {
  const types = { VARCHAR: arrow.Utf8, INTEGER: arrow.Int32, DOUBLE: arrow.Float64, BOOLEAN: arrow.Bool };
  const columns = Object.entries(tables.nodes) as [keyof Node, keyof typeof types][];
  const schema = new arrow.Schema(columns.map(([name, type]) => new arrow.Field(name, new types[type](), true)));
  const batches: arrow.RecordBatch[] = [];
  for (let start = 0; start < nodes.length; start += 8192) {
    const part = nodes.slice(start, start + 8192);
    const children = columns.map(([name, type]) => {
      const cells = part.map((node) => node[name]);
      return arrow.vectorFromArray(cells, new types[type]() as arrow.DataType).data[0]!;
    });
    const data = arrow.makeData({ type: new arrow.Struct(schema.fields), length: part.length, children });
    batches.push(new arrow.RecordBatch(schema, data));
  }
  return arrow.tableToIPC(new arrow.Table(schema, batches), "file");
}

const texts = ["", "plain", "ü 😀", "unpaired \ud83d", "a\u0000b\u2028"];
const nodes = forest(220).map((node, i): Node => {
  const value = i % 7 === 0 ? null : node.value;
  return {
    ...node,
    text: texts[i % texts.length]!,
    prompt_tokens: i % 5 === 0 ? null : i,
    value,
    label: value === null ? null : value > 0.5,
  };
});

describe("arrowFile", () => {
  it("writes the bytes of Arrow's own builders, over batches, nulls and any text", () => {
    expect(nodes.length).toBeGreaterThan(8192);
    const trees = Array.from({ length: 220 }, (_, i) => nodes.slice(39 * i, 39 * (i + 1)));
    expect(written(trees).equals(general(nodes))).toBe(true);
    expect(written([nodes.slice(0, 100)]).equals(general(nodes.slice(0, 100)))).toBe(true);
  });

  it("is a whole file without a node too", () => {
    expect(written([]).equals(general([]))).toBe(true);
    expect(arrow.tableFromIPC(written([[]])).numRows).toBe(0);
  });

  it("keeps a column of nulls", () => {
    const none = nodes.slice(0, 9).map((node) => ({ ...node, answer: null, correct: null, value: null, label: null }));
    const table = arrow.tableFromIPC(written([none]));
    expect([...table.getChild("correct")!, ...table.getChild("answer")!]).toEqual(Array(18).fill(null));
    expect(written([none]).equals(general(none))).toBe(true);
  });
});
