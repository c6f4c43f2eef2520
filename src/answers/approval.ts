/**
 * Whether a critique approves the whole solution it read: then it means that solution's answer, even if it states none.
 * Pure, and strict, because a critique that is taken for an approval wrongly counts as an answer that nobody gave.
 *
 * The rule: one sentence is an approval of the whole solution and nothing else ("The solution is correct.", "I found no
 * mistakes."), and no other sentence holds a question or a word of doubt (not, but, if, should, wrong, error, …). So praise
 * of one step or of the approach is none, nor is "is not correct", "would be correct if …" or "is correct, but …".
 * "Correct." and the like count only as the whole critique, since elsewhere they speak of a step.
 */
import { ownText } from "./index.js";

const article = "(?:(?:the|this|that|your|given|proposed|provided|above|original|final|overall|whole|entire) ){0,4}";
const adverb = "(?:(?:indeed|entirely|completely|fully|all|also|absolutely|perfectly|therefore|thus|already) )?";
const right = `${adverb}(?:correct|right|valid|accurate|sound)(?: and (?:correct|right|valid|accurate|sound|clear|complete))?`;
const solution = `${article}(?:(?:reasoning|calculations?|steps) and ${article})?(?:solution|answer|result|response)`;
const all = "(?:everything|(?:each|every) (?:step|calculation)|all (?:of )?(?:the )?(?:steps|calculations))";
const subject = `(?:${solution}|${all})(?: and ${article}(?:answer|solution|reasoning|calculations?))?`;
const fault = "(?:mistake|error|fault|flaw|issue|problem)s?";
const where = `(?: (?:in|with) (?:it|${solution}))?`;
const opening =
  "(?:(?:yes|correct|right|indeed|so|therefore|thus|hence|overall|in (?:summary|conclusion|short)|conclusion|verdict|critique|" +
  "assessment|review|final answer|(?:i|we) (?:think|believe|conclude|confirm|see|find)(?: that)?)[,:]? ){0,2}";
const approvals = [
  `${subject} (?:(?:is|are|looks?|seems?|appears?(?: to be)?) ${right}|stands?|holds?(?: up)?)(?: as (?:given|stated|written|it stands))?`,
  `(?:(?:there (?:is|are|were)|(?:i|we) (?:find|found|see|saw|detect|have found)|${solution} (?:has|contains)|it (?:has|contains)) )?no ${fault}${where}(?: (?:were |was )?found)?`,
  `(?:i|we) (?:did not|do not|cannot|could not) (?:find|see|detect|spot) (?:any|a) ${fault}${where}`,
  `i agree with ${solution}`,
];
const approval = new RegExp(`^${opening}(?:${approvals.join("|")})[.!]*$`);
const bare = /^(?:verdict: )?(?:(?:it|this|that) )?(?:(?:is|looks) )?(?:all )?(?:correct|right|good)[.!]*$/;
const doubt =
  /\b(?:not?|nothing|never|in(?:correct|valid|accurate|complete|consistent)(?:ly)?|wrong(?:ly)?|mistak\w*|errors?|flaw\w*|faults?|faulty|issues?|problematic|however|but|yet|although|though|while|except|unless|only|if|would|could|should|must|may|might|perhaps|maybe|rather|instead|miss\w*|lack\w*|forg[eo]t\w*|omit\w*|overlook\w*|unfortunately|correct(?:ion|ions|ed)|fix\w*|actually|wait|doubt\w*|un(?:clear|sure|certain)|improve\w*|fail\w*|false|contradict\w*|off|too)\b|\?/;

/** @returns true only where the rule above finds an approval of the whole solution, outside of thoughts */
export function approves(critique: string): boolean {
  const sentences = (ownText(critique) ?? "")
    .toLowerCase()
    .replaceAll("’", "'")
    .replaceAll("n't", " not")
    .replace(/[*_#>`]/g, "")
    .split(/(?<=[.!?])\s+|\n+/)
    .map((sentence) =>
      sentence
        .replace(/\s+/g, " ")
        .replace(/^[-•] /, "")
        .trim(),
    )
    .filter((sentence) => sentence !== "");
  if (sentences.length === 1 && bare.test(sentences[0]!)) return true;
  const others = sentences.filter((sentence) => !approval.test(sentence));
  return others.length < sentences.length && !others.some((sentence) => doubt.test(sentence));
}
