/** The nodes as an Arrow IPC file, written batch by batch. */
import { closeSync, openSync, writeFileSync } from "node:fs";
import * as arrow from "apache-arrow";
import type { Node } from "../types.js";
import { tables } from "./tables.js";

/** Values of one column, null where there is none. */
type Cells<T> = readonly (T | null)[];

/** By type of column its data, built straight from the values: the general builders take most of an export's time. */
const column = {
  VARCHAR(cells: Cells<string>) {
    const bytes = Buffer.allocUnsafe(cells.reduce((sum, cell) => sum + 3 * (cell?.length ?? 0), 0));
    const valueOffsets = new Int32Array(cells.length + 1);
    let end = 0;
    cells.forEach((cell, i) => {
      if (cell !== null) end += bytes.write(cell, end);
      valueOffsets[i + 1] = end;
    });
    const data = bytes.subarray(0, end);
    return arrow.makeData({ type: new arrow.Utf8(), length: cells.length, valueOffsets, data, ...nulls(cells) });
  },
  INTEGER(cells: Cells<number>) {
    const data = Int32Array.from(cells, (cell) => cell ?? 0);
    return arrow.makeData({ type: new arrow.Int32(), length: cells.length, data, ...nulls(cells) });
  },
  DOUBLE(cells: Cells<number>) {
    const data = Float64Array.from(cells, (cell) => cell ?? 0);
    return arrow.makeData({ type: new arrow.Float64(), length: cells.length, data, ...nulls(cells) });
  },
  BOOLEAN(cells: Cells<boolean>) {
    const data = bits(cells, (cell) => cell === true);
    return arrow.makeData({ type: new arrow.Bool(), length: cells.length, data, ...nulls(cells) });
  },
};

const nulls = (cells: Cells<unknown>) => ({
  nullCount: cells.filter((cell) => cell === null).length,
  nullBitmap: bits(cells, (cell) => cell !== null),
});

/** One bit per cell, the first the lowest; padded to 64 bytes, as the format recommends. */
function bits<T>(cells: readonly T[], isSet: (cell: T) => boolean): Uint8Array {
  const bytes = new Uint8Array(64 * Math.ceil(cells.length / 512));
  cells.forEach((cell, i) => {
    if (isSet(cell)) bytes[i >> 3]! |= 1 << (i & 7);
  });
  return bytes;
}

const types = {
  VARCHAR: new arrow.Utf8(),
  INTEGER: new arrow.Int32(),
  DOUBLE: new arrow.Float64(),
  BOOLEAN: new arrow.Bool(),
};
const columns = Object.entries(tables.nodes) as [keyof Node, keyof typeof types][];
const schema = new arrow.Schema(columns.map(([name, type]) => new arrow.Field(name, types[type], true)));

/** A record batch ends at this many rows, or characters of text if these are reached first. */
const most = { rows: 8192, characters: 1 << 26 };

/** Where the writer puts its bytes: a file, at once, so that none are held in memory. */
class FileSink extends arrow.AsyncByteQueue {
  constructor(private readonly file: number) {
    super();
  }
  override write(bytes: Uint8Array): void {
    writeFileSync(this.file, bytes);
  }
}

/** A file of nodes. */
export interface ArrowFile {
  write(nodes: readonly Node[]): void;
  /** Writes what is left, and the footer. */
  finish(): void;
  close(): void;
}

/** Creates (or empties) an Arrow IPC file. */
export function arrowFile(path: string): ArrowFile {
  const file = openSync(path, "w");
  const writer = new arrow.RecordBatchFileWriter().reset(new FileSink(file), schema);
  let waiting: Node[] = [];
  let characters = 0;
  const flush = () => {
    if (waiting.length > 0) writer.write(batch(waiting));
    waiting = [];
    characters = 0;
  };
  return {
    write(nodes) {
      for (const node of nodes) {
        waiting.push(node);
        characters += node.text.length;
        if (waiting.length === most.rows || characters >= most.characters) flush();
      }
    },
    finish() {
      flush();
      writer.close();
    },
    close: () => closeSync(file),
  };
}

function batch(nodes: readonly Node[]): arrow.RecordBatch {
  const children = columns.map(([name, type]) => column[type](nodes.map((node) => node[name]) as Cells<never>));
  const struct = new arrow.Struct(schema.fields);
  return new arrow.RecordBatch(schema, arrow.makeData({ type: struct, length: nodes.length, children }));
}
