/** Titled tables with a note, as a terminal and as a notebook shows them: one content, two forms. */
import { escapeHtml, send, tableHtml, textHtml } from "./notebook.js";
import { alignedTable } from "./text-table.js";

/** A part of a report. */
export interface Section {
  title: string;
  /** Cells by column; none for a section of words alone. */
  rows: readonly Readonly<Record<string, string | number>>[];
  /** How to read it; "" for nothing. */
  note: string;
}

/** For a terminal. */
export const sectionsText = (sections: readonly Section[]): string =>
  sections
    .map(({ title, rows, note }) => [title, ...textRows(rows), note].filter((part) => part).join("\n"))
    .join("\n\n");

function textRows(rows: Section["rows"]): string[] {
  if (rows.length === 0) return [];
  const columns = Object.keys(rows[0]!);
  return [
    alignedTable(
      columns,
      rows.map((row) => columns.map((column) => row[column] ?? "–")),
    ),
  ];
}

/** In a notebook, an output each. @throws MaltError outside a tslab kernel */
export function showSections(sections: readonly Section[]): void {
  for (const section of sections) {
    const { title, rows, note } = section;
    const table = rows.length === 0 ? "" : tableHtml(rows, { maxRows: 100, maxLength: 300 });
    const html = `<p><strong>${escapeHtml(title)}</strong></p>${table}${note && textHtml(note)}`;
    send({ "text/html": html, "text/plain": sectionsText([section]) });
  }
}
