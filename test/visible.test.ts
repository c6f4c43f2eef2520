import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { MaltError, RefusedError } from "../src/errors.js";
import { python, root } from "../src/paths.js";
import { oneLine, visible } from "../src/visible.js";

describe("a text of others", () => {
  it.each([
    ["a window title", "\x1b]0;title\x07", "\\u001b]0;title\\u0007"],
    ["a cleared screen", "\x1b[2J\x1bc", "\\u001b[2J\\u001bc"],
    ["a link (OSC 8)", "\x1b]8;;http://evil\x1b\\here", "\\u001b]8;;http://evil\\u001b\\here"],
    ["the clipboard (OSC 52), with 8-bit controls", "\u009d52;c;Zg==\u009c", "\\u009d52;c;Zg==\\u009c"],
    ["an 8-bit CSI", "\u009b2J", "\\u009b2J"],
    ["an overwritten line", "wrong\rright\b\x7f", "wrong\\u000dright\\u0008\\u007f"],
    ["reordered text", "\u202egnp\u202c \u2066a\u2069", "\\u202egnp\\u202c \\u2066a\\u2069"],
    ["text of no width", "ad\u200bm\u2060in\ufeff\u00ad", "ad\\u200bm\\u2060in\\ufeff\\u00ad"],
    ["a hidden tag", "a\u{e0041}", "a\\udb40\\udc41"],
    ["half of a pair", "\ud83d!", "\\ud83d!"],
    ["other line ends", "a\r\nb\u2028c\u0085d", "a\nb\\u2028c\\u0085d"],
    ["words, signs and pictures", "naïve 数学 عدد x ≥ ½ 👍🏽\t{}\\\n", "naïve 数学 عدد x ≥ ½ 👍🏽\t{}\\\n"],
  ])("shows %s", (_, text, shown) => {
    expect(visible(text)).toBe(shown);
    expect(visible(shown)).toBe(shown);
    expect(new MaltError(text).message).toBe(shown);
    expect(new RefusedError(text, 400).message).toBe(shown);
  });

  it("on one line has no second one", () => {
    expect(oneLine("a \r\n\n b\u2028c\td\x85e\x0bf  g\x1b")).toBe("a b c d e f  g\\u001b");
  });

  it("as JSON stays the same JSON", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (text) => {
        expect(JSON.parse(visible(JSON.stringify({ [text]: text })))).toEqual({ [text]: text });
      }),
    );
    const all = Array.from({ length: 0x10000 }, (_, i) => String.fromCharCode(i)).join("");
    expect(JSON.parse(visible(JSON.stringify(all)))).toBe(all);
    expect(visible(all)).not.toMatch(/[^\P{C}\n\t\p{Co}\p{Cn}]|[\u2028\u2029]/u);
  });

  it.skipIf(!existsSync(python))("is shown by the Python programs in the same way", () => {
    const texts = ["\x1b]0;t\x07\u009b\x7f\r", "\u202e\u200b\u2028\u{e0041}", "数学 👍🏽\n\t"];
    const program = `import json, sys; sys.path.insert(0, sys.argv[1]); from visible import visible
print(json.dumps([visible(text) for text in json.load(sys.stdin)]))`;
    const said = execFileSync(python, ["-c", program, join(root, "python")], { input: JSON.stringify(texts) });
    expect(JSON.parse(said.toString())).toEqual(texts.map(visible));
  });
});
