/** The setting of the credit: θ, pooling, pairing and the rest, and what each role yields under it. */

import { sftSelections } from "../../credit/pairs.js";
import { incompletes, poolings } from "../../credit/values.js";
import { thousands } from "../../format.js";
import { type CreditSetting, paperSetting, type RoleYield, traits } from "../credit.js";
import type { App } from "./app.js";
import { choice, fill, h } from "./dom.js";

const pairingNames = {
  all: "every good with every bad",
  "one-per-state": "one per state",
  balanced: "each output once",
} as const;
const poolingNames = {
  mean: "mean of the children",
  "leaf-mean": "mean of the leaves",
  max: "best child",
  local: "labels, level by level",
} as const;

export function settings(app: App): HTMLElement {
  const change = (setting: Partial<CreditSetting>) =>
    app.update({ route: { ...app.route, setting: { ...app.route.setting, ...setting } } });
  const slider = (label: string, name: "threshold" | "minGap", paper: string) => {
    const output = h("output");
    const range = h("input", { type: "range", min: 0, max: 1, step: 0.01, "aria-label": label });
    let isWaiting = false;
    range.addEventListener("input", () => {
      output.textContent = Number(range.value).toFixed(2);
      // A pointer moves more often than the screen is drawn.
      if (isWaiting) return;
      isWaiting = true;
      requestAnimationFrame(() => {
        isWaiting = false;
        change({ [name]: Number(range.value) });
      });
    });
    const scale = h(
      "span.scale",
      {},
      range,
      h("span.paper-mark", { "--at": paperSetting[name], "aria-hidden": "true" }, paper),
    );
    const element = h("div.field.slider", {}, h("span", {}, label, " ", output), scale);
    return [
      element,
      (setting: CreditSetting) => {
        if (Number(range.value) !== setting[name]) range.value = String(setting[name]);
        output.textContent = String(Number(setting[name].toFixed(4)));
      },
    ] as const;
  };

  const selects = h("div.fields");
  const more = h("details.more", {}, h("summary", {}, "More rules"));
  const moreFields = h("div.fields");
  more.append(moreFields);
  const [theta, showTheta] = slider("Threshold θ: good if value >", "threshold", "paper 0.5");
  const [gap, showGap] = slider("Least gap of values in a pair", "minGap", "paper 0");
  const reset = h("div.buttons");
  const table = h("div.yield", { role: "status", "aria-live": "polite" });
  const element = h(
    "section.settings",
    { "aria-label": "credit setting" },
    h("div.controls", {}, h("div.fields", {}, theta, selects), more, reset),
    table,
  );
  const hasPartial = app.trees.lasting.some((marks) => (marks & traits.partial) !== 0);

  const named = <T extends string>(
    label: string,
    name: keyof CreditSetting,
    options: readonly (readonly [T, string])[],
    setting: CreditSetting,
  ) => {
    const marked = options.map(([value, shown]) => {
      const isPaper = value === String(paperSetting[name]);
      return [
        value,
        isPaper ? `${shown} (${name === "identical" || name === "dedupe" ? "default" : "paper"})` : shown,
      ] as const;
    });
    return choice(label, marked, String(setting[name]) as T, (value) =>
      change({ [name]: name === "dedupe" ? value === "true" : value }),
    );
  };

  app.view(() => {
    const setting = app.setting();
    showTheta(setting);
    showGap(setting);
    const shown = JSON.stringify({ ...setting, threshold: 0, minGap: 0 });
    if (element.dataset.shown !== shown) {
      element.dataset.shown = shown;
      fill(
        selects,
        named(
          "Pooling",
          "pooling",
          poolings.map((name) => [name, poolingNames[name]] as const),
          setting,
        ),
        named("Pairing", "pairing", Object.entries(pairingNames), setting),
      );
      fill(
        moreFields,
        gap,
        named(
          "Pairs of identical texts",
          "identical",
          [
            ["drop", "dropped"],
            ["keep", "kept"],
          ],
          setting,
        ),
        named(
          "Repeated examples and pairs",
          "dedupe",
          [
            ["false", "all kept"],
            ["true", "once per state"],
          ],
          setting,
        ),
        named(
          "SFT examples",
          "examples",
          sftSelections.map(
            (name) => [name, name === "positives" ? "all good outputs" : "good ones with a bad sibling"] as const,
          ),
          setting,
        ),
        hasPartial &&
          named(
            "Partly sampled trees",
            "incomplete",
            incompletes.map((name) => [name, name === "skip" ? "no value" : "mean of what is there"] as const),
            setting,
          ),
      );
    }
    const isPaper = same(setting, paperSetting);
    const isDataset = same(setting, app.about.setting);
    const button = (label: string, to: CreditSetting, isOff: boolean) =>
      h(
        "button",
        { type: "button", disabled: isOff, click: () => app.update({ route: { ...app.route, setting: to } }) },
        label,
      );
    // A button that is drawn anew would lose the focus.
    const states = `${isPaper} ${isDataset}`;
    if (reset.dataset.shown !== states) {
      reset.dataset.shown = states;
      fill(
        reset,
        button("Paper’s setting", paperSetting, isPaper),
        !same(paperSetting, app.about.setting) && button("Dataset’s setting", app.about.setting, isDataset),
        h(
          "span.faint",
          {},
          isPaper ? "This is the paper’s setting." : isDataset ? "This is the dataset’s setting." : "",
        ),
      );
    }
    fill(table, yieldTable(app.credit.roles, app.dataset.roles));
  });
  return element;
}

const same = (a: CreditSetting, b: CreditSetting): boolean =>
  (Object.keys(a) as (keyof CreditSetting)[]).every((name) => a[name] === b[name]);

/** What each role yields, and how much more or less than in the dataset. */
function yieldTable(roles: readonly RoleYield[], dataset: readonly RoleYield[]): HTMLElement {
  const columns = [
    ["outputs", "nodes"],
    ["good", "good"],
    ["SFT examples", "examples"],
    ["pairs", "pairs"],
    ["questions with pairs", "questions"],
    ["labels flipped", "flipped"],
  ] as const;
  const cell = (role: RoleYield, i: number, name: (typeof columns)[number][1]) => {
    const change = name === "flipped" ? 0 : role[name] - dataset[i]![name];
    return h(
      "td",
      { "data-name": name },
      thousands(role[name]),
      change !== 0 && h("small", {}, ` ${change > 0 ? "+" : "−"}${thousands(Math.abs(change))}`),
    );
  };
  return h(
    "table",
    {},
    h("caption.hidden", {}, "What each role of the run yields under this setting, and the change against the dataset"),
    h(
      "thead",
      {},
      h(
        "tr",
        {},
        h("th", { scope: "col" }, "role"),
        columns.map(([title]) => h("th", { scope: "col" }, title)),
      ),
    ),
    h(
      "tbody",
      {},
      roles.map((role, i) =>
        h(
          "tr",
          { "data-role": role.role },
          h("th", { scope: "row" }, role.role),
          columns.map(([, name]) => cell(role, i, name)),
        ),
      ),
    ),
  );
}
