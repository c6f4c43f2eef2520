/** Reads the parts of the page: what it needs to open at once, and packets of one question when somebody looks at it. */
import { type About, part } from "../about.js";
import { type PassPacket, type VoteColumns, voteColumnTypes } from "../passes.js";
import { type QuestionPacket, type TreeColumns, treeColumnTypes } from "../trees.js";

async function bytesOf(id: string): Promise<ArrayBuffer> {
  const text = document.getElementById(id)?.textContent;
  if (text === null || text === undefined) throw new Error(`the page lacks its part ${id}; write it again`);
  const packed = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  return new Response(stream).arrayBuffer();
}

const decoder = new TextDecoder();
const jsonOf = async <T>(id: string): Promise<T> => JSON.parse(decoder.decode(await bytesOf(id))) as T;

type ColumnType = { new (buffer: ArrayBuffer): ArrayBufferView };
async function columnsOf<T>(types: Readonly<Record<string, ColumnType>>, id: (name: string) => string): Promise<T> {
  const read = Object.entries(types).map(async ([name, type]) => [name, new type(await bytesOf(id(name)))] as const);
  return Object.fromEntries(await Promise.all(read)) as T;
}

export const readAbout = (): Promise<About> => jsonOf(part.about);
export const readTrees = (): Promise<TreeColumns> => columnsOf(treeColumnTypes, part.treeColumn);
export const readVotes = (evaluation: number): Promise<VoteColumns> =>
  columnsOf(voteColumnTypes, (name) => part.voteColumn(evaluation, name));

/** Packets that were read last are kept; a person goes back and forth between a few. */
const mostKept = 16;
const kept = new Map<string, Promise<unknown>>();

function packet<T>(id: string): Promise<T> {
  const read = kept.get(id) ?? jsonOf<T>(id);
  kept.delete(id);
  kept.set(id, read);
  if (kept.size > mostKept) kept.delete(kept.keys().next().value!);
  return read as Promise<T>;
}

export const readQuestion = (index: number): Promise<QuestionPacket> => packet(part.question(index));
export const readPasses = (evaluation: number, index: number): Promise<PassPacket> =>
  packet(part.passes(evaluation, index));

/** The same without keeping it, for a search through all of them. */
export const passThrough = {
  question: (index: number): Promise<QuestionPacket> => jsonOf(part.question(index)),
  passes: (evaluation: number, index: number): Promise<PassPacket> => jsonOf(part.passes(evaluation, index)),
};
