import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { blotter, serverWords, shownWithout } from "../../src/policy/words.js";

const key = "sk-proj-A1b2C3d4E5f6/G7h8+I9j0";

/** Whether a run of eight characters of the key is left in a text, however it is spaced. */
function leaks(text: string): boolean {
  const bare = text.replace(/[\s\\]/g, "").toLowerCase();
  return Array.from({ length: key.length - 7 }, (_, i) => key.slice(i, i + 8).toLowerCase()).some((piece) =>
    bare.includes(piece),
  );
}

describe("a key in a server's words", () => {
  it.each<[string, string]>([
    ["whole", `Incorrect API key: ${key}.`],
    ["in part", `no key begins with ${key.slice(0, 17)}`],
    ["where the message is cut", `${"x".repeat(283)} ${key}`],
    ["where what is read is cut", `${" ".repeat(32_768 - 17)}${key}`],
    ["with white space in it", `${key.slice(0, 9)}\n   ${key.slice(9)}`],
    ["as a URL", encodeURIComponent(key)],
    ["as JSON", JSON.stringify(key).replaceAll("/", "\\/")],
    ["as JSON in JSON", JSON.stringify(JSON.stringify(key).replaceAll("+", "\\u002b"))],
    ["as HTML", key.replaceAll("+", "&#43;").replaceAll("/", "&#x2f;")],
    ["in capitals", key.toUpperCase()],
    ["as a header", `{"authorization":"Bearer ${key}"}`],
  ])("is blotted out %s", (_, text) => {
    const shown = shownWithout(key)(text);
    expect(leaks(shown)).toBe(false);
    expect(decodeURIComponent(shown)).not.toContain(key.slice(0, 8));
    expect(shown.length).toBeLessThanOrEqual(300);
  });

  it("is blotted out in base64, alone and behind a user's name", () => {
    for (const before of ["", "a:", "me:", "user:"]) {
      const sent = Buffer.from(`${before}${key}`).toString("base64");
      const shown = shownWithout(key)(`you sent ${sent}`);
      expect(Buffer.from(shown.replace(/^you sent /, ""), "base64").toString()).not.toContain(key.slice(4, 12));
    }
  });

  it("leaves no piece of eight characters, whatever is around it", () => {
    const part = fc
      .tuple(fc.nat(key.length), fc.nat(key.length))
      .map(([a, b]) => key.slice(Math.min(a, b), Math.max(a, b)));
    const text = fc.array(fc.oneof(part, fc.string({ unit: "binary" }), fc.constantFrom(" ", "\n", "\\n", "%20")), {
      maxLength: 12,
    });
    fc.assert(
      fc.property(text, (parts) => !leaks(shownWithout(key)(parts.join("")))),
      { seed: 26, numRuns: 2000 },
    );
  });

  it("is the only thing that is blotted out", () => {
    expect(blotter(key)("model sk-proj not found, see %41 &amp; \\u0041")).toBe(
      "model sk-proj not found, see %41 &amp; \\u0041",
    );
    expect(blotter(null)("Bearer authentication is required")).toBe("Bearer authentication is required");
  });

  it("that is short is blotted out as a word, not inside others", () => {
    expect(blotter("abc")("key abc: abcd is not abc")).toBe("key ***: abcd is not ***");
  });

  it("of somebody else is blotted out where it stands behind Bearer", () => {
    expect(blotter(null)("upstream refused Bearer gsk_0123456789abc")).toBe("upstream refused Bearer ***");
  });
});

describe("a server's words", () => {
  it.each<[string, string, string]>([
    ["OpenAI", '{"error":{"message":"no such model","type":"x","code":404}}', "no such model"],
    ["vLLM before 0.10", '{"object":"error","message":"too long","type":"BadRequestError","code":400}', "too long"],
    ["FastAPI", '{"detail":"Not Found"}', "Not Found"],
    [
      "FastAPI's checks",
      '{"detail":[{"loc":["body","top_k"],"msg":"not an integer"},{"loc":["body","n"],"msg":"too large"}]}',
      "top_k: not an integer; n: too large",
    ],
    ["a text as error", '{"error":"overloaded"}', "overloaded"],
    ["a gateway", '{"status":404,"error":"Not Found","message":"no route"}', "Not Found: no route"],
    ["RFC 9457", '{"type":"about:blank","title":"Forbidden","detail":"no quota left"}', "Forbidden: no quota left"],
    ["capitals", '{"Message":"expired"}', "expired"],
    ["msg", '{"code":1,"msg":"bad"}', "bad"],
    ["a list", '[{"error":{"message":"first"}},{"error":{"message":"second"}}]', "first; second"],
    ["a JSON text", '"just words"', "just words"],
    ["other JSON", '{"code":7}', '{"code":7}'],
    ["plain text", "upstream timed out <1s>", "upstream timed out <1s>"],
    [
      "HTML",
      "<html><head><style>p { color: red }</style><title>502</title></head><body><!-- x --><p>Bad <b>gateway</b></p></body></html>",
      "502 Bad gateway",
    ],
    ["only tags", "<br/>", "<br/>"],
    ["broken JSON", '{"error": ', '{"error":'],
  ])("are found in the form of %s", (_, page, words) => {
    expect(shownWithout(null)(serverWords(page))).toBe(words);
  });

  it("are found in what is made to be slow", () => {
    for (const page of [
      "<".repeat(65_536),
      "<script".repeat(9000),
      "[".repeat(65_536),
      "&#".repeat(32_768),
      "\\".repeat(65_536),
    ])
      expect(shownWithout(key)(serverWords(page)).length).toBeLessThanOrEqual(300);
  });
});
