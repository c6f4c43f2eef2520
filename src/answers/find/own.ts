/**
 * Which part of a completion is the model's own answer: not its thoughts, not the chat template's tokens, not what a next
 * speaker says. Offsets are kept: what does not count becomes blank. Linear in the length. Pure.
 */

const roles = "user|human|system|developer|tool|ipython|assistant|model|bot|ai";
const patterns = [
  // Harmony: the final channel closes whatever was thought before it.
  String.raw`(?<final>(?:<\|end\|>\s*)?(?:<\|start\|>\s*assistant\s*)?<\|channel\|>\s*final\s*(?:<\|constrain\|>\s*\w+\s*)?<\|message\|>|assistantfinal)`,
  // Without its tokens the analysis channel begins with its bare name.
  String.raw`(?<channel><\|channel\|>\s*(?:analysis|commentary)|^analysis(?=[A-Z]))`,
  String.raw`<\|?(?<slash>\/?)\s*(?:seed:)?(?:think(?:ing)?|thoughts?|reason(?:ing)?|reflection|scratchpad|analysis|inner_monologue)(?:\s[^<>\/|]{0,80})?\|?>`,
  String.raw`[[◁](?<mark>\/?)think[\]▷]`,
  String.raw`<\|(?<side>begin|start|end)_?(?:of_)?(?:thought|thinking|think|reasoning)\|>`,
  // A token of a chat template, with the role it may name.
  String.raw`(?<token><\|(?:start|im_start|start_header_id|start_of_role)\|>\s*(?:${roles})?|<start_of_turn>\s*(?:${roles})?|<\|[a-z_][a-z0-9_]{1,40}\|>|<｜[^<>｜]{1,40}｜>|\[\/?INST\]|<<\/?SYS>>|\[\|\/?[a-z]{2,20}\|\]|<\/?s>|<[be]os>|<end_of_(?:turn|utterance)>)`,
];
const signs = new RegExp(patterns.join("|"), "gi");

/**
 * The text with blanks for thoughts, for the tokens of a chat template and for every turn but the model's first. A
 * closing mark without an opening one, which the template may have written, makes everything before it a thought.
 * @returns null where a thought is never closed, since the completion then states nothing
 */
export function ownText(text: string): string | null {
  /** Stretches of the present turn that are no thoughts, and where the next one begins. */
  let kept: [start: number, end: number][] = [];
  let from = 0;
  let opened = -1;
  let depth = 0;
  let isOwn = true;
  const keep = (end: number) => kept.push([from, end]);
  const restart = (at: number) => {
    kept = [];
    from = at;
  };
  let hasEnded = false;
  for (const { 0: sign, index, groups = {} } of text.matchAll(signs)) {
    const end = index + sign.length;
    const { final, channel, token, slash, mark, side } = groups;
    if (final !== undefined || (token === undefined && (slash || mark || /^end$/i.test(side ?? "")))) {
      if (depth === 0) restart(end);
      else {
        depth = final === undefined ? depth - 1 : 0;
        from = end;
      }
      isOwn = true;
    } else if (token === undefined) {
      // A template and a model that both open the thought open it once; a channel is opened again for each message.
      const again = depth > 0 && (channel !== undefined || text.slice(opened, index).trim() === "");
      if (depth === 0) keep(index);
      if (!again) depth++;
      opened = end;
    } else if (depth === 0) {
      keep(index);
      hasEnded = isOwn && kept.some(([a, b]) => text.slice(a, b).trim() !== "");
      if (hasEnded) break;
      restart(end);
      isOwn = ownerOf(token) ?? isOwn;
    }
  }
  if (depth > 0) return null;
  if (!hasEnded) keep(text.length);
  if (!isOwn) return "";
  let own = "";
  for (const [start, end] of kept) own += " ".repeat(start - own.length) + text.slice(start, end);
  // A model that repeats its role before it answers.
  return own.replace(leadingSpeaker, (marker) => " ".repeat(marker.length));
}

/** Whether a token gives the word to the model; null for one that names nobody. */
function ownerOf(token: string): boolean | null {
  if (/\/INST|assistant|model|\b(?:bot|ai)\b/i.test(token)) return true;
  return /INST|SYS|user|human|system|developer|tool|ipython/i.test(token) ? false : null;
}

/** Where a next speaker, or the next problem of a few-shot prompt, may begin. */
export interface Change {
  index: number;
  /** "role": somebody else speaks. "problem": a new problem, or a part of the present one. */
  to: "role" | "problem";
}

/** A speaker alone on its line, or in front of what is said. */
const speaker = String.raw`[ \t>*_#]*(?:user|human|assistant|system|model|instructions?)[*_]*[ \t]*(?:$|:[*_]*)`;
// With the flag m, "^" alone would match at every line.
const leadingSpeaker = new RegExp(String.raw`(?<![\s\S])(?:\s*^${speaker})+(?=\s*\S)`, "im");
const changes = new RegExp(
  [
    String.raw`(?<role>^${speaker}|^#{1,6}[ \t]*(?:input|response)[*_]*[ \t]*(?:$|:)|^below is an instruction\b`,
    // On the line of the answer: "18 Human: …", and "18assistant" where a template's tokens were dropped.
    String.raw`(?<=[\d.!?)}\]$*][ \t]{1,4})(?:user|human|assistant):|(?<=[\d.!?)}\]$*])(?:user|assistant)[ \t]*$)`,
    String.raw`^[ \t>*_#]*(?:q\d{0,4}[*_]*[ \t]*:|(?:question|problem|exercise)[ \t#]*\d{0,4}[*_]*[ \t]*(?::|\.?[ \t]*$))`,
  ].join("|"),
  "gim",
);
/** Further ones are not looked at, which bounds the work. */
const maxChanges = 8;

/** The first places behind some text at which somebody else may begin to speak, in order. */
export function speakerChanges(own: string): Change[] {
  const found: Change[] = [];
  for (const { index, groups } of own.matchAll(changes)) {
    if (found.length > 0 || own.slice(0, index).trim() !== "")
      found.push({ index, to: groups?.role === undefined ? "problem" : "role" });
    if (found.length === maxChanges) break;
  }
  return found;
}
