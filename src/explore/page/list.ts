/**
 * A list of any length, of which only the rows in sight exist: a listbox, moved through by arrow keys.
 */
import { thousands } from "../../format.js";
import { type Child, fill, h } from "./dom.js";

const rowHeight = 54;

export interface List {
  element: HTMLElement;
  /** Shows other items. @param selected its place among them, −1 for none */
  show(items: readonly number[], selected: number): void;
}

/**
 * @param row what an item shows, and its name for screen readers
 * @param onSelect called with an item
 */
export function list(
  label: string,
  row: (item: number) => { name: string; content: readonly Child[] },
  onSelect: (item: number) => void,
): List {
  let items: readonly number[] = [];
  let selected = -1;
  const rows = h("div.rows", { role: "presentation" });
  const element = h("div.list", { role: "listbox", tabindex: 0, "aria-label": label }, rows);
  const idOf = (place: number) => `option-${label.replace(/\W+/g, "-")}-${place}`;

  const draw = () => {
    const from = Math.max(0, Math.floor(element.scrollTop / rowHeight) - 4);
    const to = Math.min(items.length, Math.ceil((element.scrollTop + element.clientHeight) / rowHeight) + 4);
    fill(
      rows,
      items.slice(from, to).map((item, i) => {
        const place = from + i;
        const { name, content } = row(item);
        return h(
          "div.row",
          {
            role: "option",
            id: idOf(place),
            "aria-selected": String(place === selected),
            "aria-setsize": items.length,
            "aria-posinset": place + 1,
            "aria-label": name,
            "--top": `${place * rowHeight}px`,
            click: () => onSelect(item),
          },
          ...content,
        );
      }),
    );
  };

  const reveal = () => {
    if (selected < 0) return;
    const top = selected * rowHeight;
    if (top < element.scrollTop || top + rowHeight > element.scrollTop + element.clientHeight)
      element.scrollTop = top - (element.clientHeight - rowHeight) / 2;
  };

  element.addEventListener("scroll", draw, { passive: true });
  let isNew = true;
  new ResizeObserver(() => {
    // Only now it has a height, and can be scrolled to what is selected.
    if (isNew && element.clientHeight > 0) {
      isNew = false;
      reveal();
    }
    draw();
  }).observe(element);
  element.addEventListener("keydown", (event) => {
    const page = Math.max(1, Math.floor(element.clientHeight / rowHeight) - 1);
    const steps: Record<string, number> = {
      ...{ ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -items.length, End: items.length },
    };
    const step = steps[event.key];
    if (step === undefined || items.length === 0) return;
    event.preventDefault();
    const from = selected < 0 ? (step > 0 ? -1 : items.length) : selected;
    onSelect(items[Math.max(0, Math.min(items.length - 1, from + step))]!);
  });

  return {
    element,
    show(next, place) {
      const moved = place !== selected || next[place] !== items[selected];
      items = next;
      selected = place;
      rows.style.setProperty("--height", `${items.length * rowHeight}px`);
      if (moved) reveal();
      if (place < 0) element.removeAttribute("aria-activedescendant");
      else element.setAttribute("aria-activedescendant", idOf(place));
      element.setAttribute("aria-description", `${thousands(items.length)} in the list`);
      draw();
    },
  };
}
