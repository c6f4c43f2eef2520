/** Puts the small page together that a notebook shows: sliders, one tree, and how its values and pairs come about. */
import { account } from "./account.js";
import { openApp } from "./app.js";
import { fill, h, shownIn } from "./dom.js";
import { settings } from "./settings.js";
import { tree } from "./tree.js";

async function start(): Promise<void> {
  const app = await openApp();
  document.title = app.about.run;
  const never = () => false;
  const treeView = tree(app, never, never, () => {});
  fill(
    document.getElementById("app")!,
    h("main.sliders", {}, settings(app), h("div.moved", {}, treeView.element, account(app))),
  );
}

shownIn(document.getElementById("app")!, start());
