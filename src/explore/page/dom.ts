/**
 * Elements from plain data. The only file that makes nodes: every text goes through `visible`, so nothing that a model or
 * a file says can become markup, hide or reorder what is around it.
 */
import { thousands } from "../../format.js";
import { visible } from "../../visible.js";

export type Child = Node | string | number | null | undefined | false | readonly Child[];
type Value = string | number | boolean | null | undefined | ((event: Event) => void);

/**
 * An element.
 * @param tag its name, with a class behind a dot: `div.list`
 * @param attributes functions are listeners, `--x` sets a custom property, false and null set nothing
 */
export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K | `${K}.${string}`,
  attributes: Readonly<Record<string, Value>> = {},
  ...children: readonly Child[]
): HTMLElementTagNameMap[K] {
  const [name, ...classes] = tag.split(".") as [K, ...string[]];
  const element = document.createElement(name);
  if (classes.length > 0) element.className = classes.join(" ");
  set(element, attributes);
  append(element, children);
  return element;
}

/** Sets attributes, as {@link h} does. */
export function set(element: HTMLElement | SVGElement, attributes: Readonly<Record<string, Value>>): void {
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(key, value);
    else if (key.startsWith("--")) element.style.setProperty(key, String(value));
    else if (value === false || value === null || value === undefined) element.removeAttribute(key);
    else element.setAttribute(key, value === true ? "" : visible(String(value)));
  }
}

/** Replaces what is in an element. */
export function fill(element: Element, ...children: readonly Child[]): void {
  element.replaceChildren();
  append(element, children);
}

function append(element: Element, children: readonly Child[]): void {
  for (const child of children) {
    if (child === null || child === undefined || child === false) continue;
    if (Array.isArray(child)) append(element, child as readonly Child[]);
    else element.append(child instanceof Node ? child : visible(String(child)));
  }
}

/** Waits for a drawing, and says in its place if it failed. */
export function shownIn(element: Element, drawing: Promise<void>): void {
  drawing.catch((error: unknown) => {
    const words = error instanceof Error ? error.message : String(error);
    fill(element, h("p.warning", { role: "alert" }, `This cannot be shown: ${words}`));
  });
}

/** A curve between two places, as SVG. */
export function svgPath(d: string): SVGPathElement {
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", d);
  return path;
}

/** An SVG drawing that screen readers pass over. */
export function svg(width: number, height: number, children: readonly SVGElement[]): SVGSVGElement {
  const element = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  set(element, { width, height, "aria-hidden": "true" });
  element.append(...children);
  return element;
}

/** A choice among words; a label behind the word says what is special about it. */
export function choice<T extends string>(
  label: string,
  options: readonly (readonly [value: T, shown: string])[],
  chosen: T,
  onChange: (value: T) => void,
): HTMLLabelElement {
  const select = h("select", { change: () => onChange(select.value as T) });
  for (const [value, shown] of options) select.append(h("option", { value }, shown));
  select.value = chosen;
  return h("label.field", {}, h("span", {}, label), select);
}

/** A box to tick. */
export function tick(
  label: string,
  checked: boolean,
  onChange: (checked: boolean) => void,
  title = "",
): HTMLLabelElement {
  const box = h("input", { type: "checkbox", change: () => onChange(box.checked) });
  box.checked = checked;
  return h("label.tick", { title: title || null }, box, h("span", {}, label));
}

/** A heading that opens and closes what is below it. */
export function section(title: string, isOpen: boolean, ...children: readonly Child[]): HTMLDetailsElement {
  const details = h("details.section", { open: isOpen }, h("summary", {}, h("h3", {}, title)), ...children);
  return details;
}

export const many = (n: number, noun: string): string => `${thousands(n)} ${noun}${n === 1 ? "" : "s"}`;
