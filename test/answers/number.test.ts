import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { formatNumber, limits, parseQuantity } from "../../src/answers/index.js";

/** Canonical text of a number with its unit, or null. */
const read = (text: string): string | null => {
  const quantity = parseQuantity(text);
  return quantity && formatNumber(quantity.value) + (quantity.unit === null ? "" : ` ${quantity.unit}`);
};

describe("parseQuantity", () => {
  it.each([
    ["1,234", "1234"],
    ["1{,}234,567", "1234567"],
    ["90\\,000", "90000"],
    ["9,\\!901", "9901"],
    ["-5", "-5"],
    ["−5", "-5"],
    ["+78", "78"],
    ["009", "9"],
    [".5", "0.5"],
    ["8.", "8"],
    ["45.0", "45"],
    ["-0", "0"],
    ["3/4", "0.75"],
    ["1/3", "1/3"],
    ["2/(-3)", "-2/3"],
    ["(13)/(4)", "3.25"],
    ["6 \\div 5", "1.2"],
    ["\\frac34", "0.75"],
    ["\\dfrac{-2}{6}", "-1/3"],
    ["\\frac{35}{-9}", "-35/9"],
    ["1 1/2", "1.5"],
    ["-998\\frac{1}{2}", "-998.5"],
    ["1.5e3", "1500"],
    ["2e-3", "0.002"],
    ["-12 \\times 10^{1}", "-120"],
    ["3 x 10^4", "30000"],
    ["1.5 million", "1500000"],
    ["$29.00.", "29"],
    ["-$5", "-5"],
    ["€14,000", "14000"],
    ["\\$120", "120"],
    ["**73**", "73"],
    ["\\(77\\)", "77"],
    ["$\\boxed{64}$", "64"],
    ["x = 720", "720"],
    ["5 + 4 = 9", "9"],
    ["\\text{12}", "12"],
    ["25%", "25 %"],
    ["40\\%", "40 %"],
    ["40\\text{ percent}", "40 %"],
    ["64 square feet", "64 square feet"],
    ["15\\mbox{ cm}^2", "15 cm ^2"],
    ["10km", "10 km"],
    ["90^\\circ", "90 degrees"],
    ["18 apples.", "18 apples"],
    ["eighteen", "18"],
    ["Twenty-five dollars", "25 dollars"],
    ["one hundred and five", "105"],
    ["two thousand three hundred", "2300"],
    ["two thirds", "2/3"],
    ["a million", "1000000"],
    ["0,125", "0.125"],
    ["1.234.567", "1234567"],
    ["1.234,5", "1234.5"],
    ["1 234 567,5", "1234567.5"],
    ["2,74 \u20ac", "2.74"],
  ])("reads %s as %s", (text, expected) => {
    expect(read(text)).toBe(expected);
  });

  it.each([
    ["", "nothing"],
    ["apples", "no number"],
    ["9x", "a product"],
    ["9xy", "a product"],
    ["64\\pi", "a product"],
    ["64 pi", "a product"],
    ["\\sqrt{4}", "a root"],
    ["2^3", "a power"],
    ["52_8", "another base"],
    ["5 + 4", "a sum"],
    ["3 - 1", "a difference"],
    ["81, 83", "a list"],
    ["1,2", "a list, or a decimal comma"],
    ["12,34", "no thousands"],
    ["1,2345", "no thousands"],
    ["5 or 6", "two answers"],
    ["12:00", "a time"],
    ["1/0", "undefined"],
    ["1/2/3", "ambiguous"],
    ["1 3/2", "no mixed number"],
    ["x >= 5", "an inequality"],
    ["x = 5, y = 6", "two answers"],
    ["x^2 + y^2 = 9", "an equation"],
    ["AZYUK2A", "a word"],
    ["Infinity", "no number"],
    ["five twenty", "no number in words"],
    ["hundred", "a scale without a number"],
    ["seven or eight", "two answers"],
    ["(0.125,0.5)", "a pair, whatever its digits"],
    ["none", "a word that begins like one"],
    ["0x10", "no decimal"],
  ])("does not read %s: %s", (text) => {
    expect(read(text)).toBeNull();
  });

  it("refuses hostile sizes at once", () => {
    const started = performance.now();
    const { digits, exponent } = limits;
    for (const text of [
      "7".repeat(digits + 1),
      "7".repeat(100_000),
      `1e${exponent + 1}`,
      "1e999999999",
      "2 \\times 10^{9999}",
      "(".repeat(100_000),
      `1${",000".repeat(30_000)}`,
      `\\frac{${"{".repeat(900)}`,
      `1${" ".repeat(1_900)}x`,
      `1${" .".repeat(900)}x`,
      "1 ".repeat(1_000),
    ]) {
      expect(read(text)).toBeNull();
    }
    expect(performance.now() - started).toBeLessThan(500);
    expect(read(`1e${exponent}`)).toBe(`1${"0".repeat(exponent)}`);
    expect(read("7".repeat(digits))).toBe("7".repeat(digits));
  });
});

describe("properties", () => {
  const bound = 10n ** 30n;
  const integer = fc.bigInt({ min: -bound, max: bound });
  const positive = fc.bigInt({ min: 1n, max: bound });

  it("a fraction written unreduced is the same number, and its canonical text reads back as itself", () => {
    fc.assert(
      fc.property(integer, positive, fc.bigInt({ min: 1n, max: 1_000n }), (n, d, k) => {
        const plain = read(`${n}/${d}`);
        expect(read(`\\frac{${n * k}}{${d * k}}`)).toBe(plain);
        expect(read(plain!)).toBe(plain);
      }),
    );
  });

  it("two fractions have the same canonical text exactly when they are equal", () => {
    const small = fc.bigInt({ min: -12n, max: 12n });
    const below = fc.bigInt({ min: 1n, max: 12n });
    fc.assert(
      fc.property(small, below, small, below, (a, b, c, d) => {
        expect(read(`${a}/${b}`) === read(`${c}/${d}`)).toBe(a * d === c * b);
      }),
      { numRuns: 1_000 },
    );
  });

  it("thousands separators, trailing zeros, currency and emphasis change nothing", () => {
    fc.assert(
      fc.property(integer, (n) => {
        const grouped = n.toString().replace(/\B(?=(\d{3})+$)/g, ",");
        for (const text of [grouped, `${n}.00`, `$${grouped}`, `**${n}**`, `${n} dollars`.replace(" dollars", ".")]) {
          expect(read(text)).toBe(n.toString());
        }
      }),
    );
  });

  it("no text makes it throw", () => {
    const alphabet = fc.constantFrom(
      ..."0123456789.,-+/ ()={}^_\\$%ex\n",
      "\\frac",
      "\\times 10^",
      "million",
      "½",
      "\u2009",
    );
    fc.assert(
      fc.property(fc.array(alphabet, { maxLength: 40 }), (parts) => {
        const found = read(parts.join(""));
        if (found !== null) expect(found).toMatch(/^-?\d+(?:\.\d+|\/\d+)?(?: .+)?$/s);
      }),
      { numRuns: 2_000 },
    );
  });
});
