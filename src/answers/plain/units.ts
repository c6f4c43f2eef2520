/**
 * Units of numbers: the spellings of a unit are mapped to one. Scope: spelling only, no conversion, since an answer of
 * 100 cm where 1 m was asked may or may not be meant as the same. Pure.
 */

const synonyms: Readonly<Record<string, string>> = Object.fromEntries(
  `cm centimeter centimetre
   mm millimeter millimetre
   m meter metre
   km kilometer kilometre
   kg kilogram
   g gram gm
   mg milligram
   ft foot feet
   in inch inches
   yd yard
   mi mile
   lb pound lbs
   oz ounce
   s second sec secs
   min minute mins
   h hour hr hrs
   l liter litre
   ml milliliter millilitre
   % percent pct percentage percents
   ° degree deg
   $ dollar usd buck
   € euro eur
   mph mi/h
   kph km/h
   rad radian`
    .trim()
    .split(/\s*\n\s*/)
    .flatMap((line) => {
      const [to, ...from] = line.split(" ");
      return [to!, ...from].map((name) => [name, to!]);
    }),
);

/** Words of two or three letters that name what a number counts; longer ones are recognised by their length. */
const short = new Set(
  (
    "cm mm km kg mg ml kl oz lb ft in yd mi hr ms cl dl gb mb tb kb kw am pm sq cu mph kph rpm min sec hrs lbs pct deg rad " +
    "gal men day cup box bag car dog cat egg pen ton way pts yrs day usd eur boy jar set pie bus"
  ).split(" "),
);
const never = new Set("times plus minus over than then else when where with mod base".split(" "));

/** Whether a word behind a number names a unit, rather than variables that are multiplied, as `xyz` does. */
export const isUnitWord = (word: string): boolean => {
  const lower = word.toLowerCase();
  if (never.has(lower)) return false;
  return short.has(lower) || (lower.length >= 4 && /[aeiouy]/.test(lower));
};

const singular = (word: string): string => {
  if (/(?:x|ch|sh|ss)es$/.test(word)) return word.slice(0, -2);
  return word.length > 3 && word.endsWith("s") && !word.endsWith("ss") ? word.slice(0, -1) : word;
};

/**
 * One spelling per unit: `square feet`, `ft^2` and `sq. ft` give `ft^2`.
 * @returns "" where the words name no unit in particular, as "units" does
 */
export function normalizeUnit(text: string): string {
  const words = text
    .toLowerCase()
    .replace(/²/g, "^2")
    .replace(/³/g, "^3")
    .replace(/(\d)(?:st|nd|rd|th)\b/g, "$1")
    .replace(/\b([ap])\.? ?m\b\.?/g, "$1m")
    .replace(/[.,;:!(){}\\]/g, " ")
    .replace(/\bper\b/g, "/")
    .replace(/\s*([/^])\s*/g, "$1")
    .trim()
    .split(/[\s-]+/);
  let power = "";
  const names: string[] = [];
  for (const word of words) {
    if (word === "square" || word === "sq" || word === "squared") power = "^2";
    else if (word === "cubic" || word === "cu" || word === "cubed") power = "^3";
    else if (word !== "" && word !== "of" && word !== "the" && word !== "a")
      names.push(word.split("/").map(one).join("/"));
  }
  const joined = names.join(" ");
  const name = Object.hasOwn(synonyms, joined) ? synonyms[joined]! : joined;
  if (/^(?:unit)?$/.test(name.replace(/\^\d$/, ""))) return "";
  return name + power;
}

/** `inches^2` as `in^2`. */
function one(word: string): string {
  const [name = "", exponent] = word.split("^");
  const known = Object.hasOwn(synonyms, name) ? synonyms[name]! : singular(name);
  const spelled = Object.hasOwn(synonyms, known) ? synonyms[known]! : known;
  return exponent === undefined ? spelled : `${spelled}^${exponent}`;
}
