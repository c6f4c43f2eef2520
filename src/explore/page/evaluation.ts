/** The evaluation on a benchmark: its questions by what became of their votes, and every pass over one of them. */
import { thousands } from "../../format.js";
import type { About, EvaluationAbout } from "../about.js";
import type { PassPacket, VoteColumns } from "../passes.js";
import type { App } from "./app.js";
import { conversation } from "./dialogue.js";
import { type Child, choice, fill, h, many, section, shownIn } from "./dom.js";
import { list } from "./list.js";
import { mark } from "./mark.js";
import { passThrough, readPasses, readVotes } from "./parts.js";
import { formatRoute } from "./route.js";
import { searcher } from "./search.js";

const outcomes = [
  ["", "any outcome"],
  ["right", "vote right"],
  ["wrong", "vote wrong"],
  ["corrected", "a pass corrected"],
  ["broken", "a pass broken"],
  ["split", "passes differ"],
] as const;
type Outcome = (typeof outcomes)[number][0];

/** Which system to show first: the one the paper is about, else the last. */
const firstSystem = ({ systems }: EvaluationAbout): string =>
  systems.find(({ name }) => name === "MALT")?.name ?? systems.at(-1)?.name ?? "";

export async function evaluation(app: App, index: number): Promise<HTMLElement> {
  const about = app.about.evaluations[index]!;
  const votes = await readVotes(index);
  const isShown = () => app.route.benchmark === about.benchmark;
  const places = new Map(about.questions.map(([id], i) => [id, i]));
  const seeds = [...new Set(votes.seed)].sort((a, b) => a - b);
  let outcome: Outcome = "";
  let words = "";
  const system = () => {
    const given = about.systems.findIndex(({ name }) => name === app.route.system);
    return given >= 0 ? given : about.systems.findIndex(({ name }) => name === firstSystem(about));
  };
  const go = (change: Partial<App["route"]>, step = false) =>
    app.update({ route: { ...app.route, benchmark: about.benchmark, ...change } }, step);

  /** Votes of each question, and how many of them are right, for the chosen system. */
  let tally: { votes: number; right: number; found: boolean }[] = [];
  const recount = () => {
    const chosen = system();
    tally = about.questions.map(() => ({ votes: 0, right: 0, found: false }));
    for (let i = 0; i < votes.question.length; i++) {
      if (votes.system[i] !== chosen) continue;
      const one = tally[votes.question[i]!]!;
      one.votes++;
      one.right += votes.voted[i]!;
      one.found ||= fits(votes, i, outcome);
    }
  };

  const search = searcher(
    about.questions.length,
    async (item) => {
      const { question, texts } = await passThrough.passes(index, item);
      return { whole: [about.questions[item]![0], question?.question ?? ""], texts };
    },
    (isChange) => (isChange ? app.update({}) : drawList()),
  );
  const field = h("input", {
    type: "search",
    placeholder: "search in texts",
    "aria-label": "search in the texts of the evaluation",
  });
  let timer = 0;
  field.addEventListener("input", () => {
    clearTimeout(timer);
    timer = window.setTimeout(() => {
      words = field.value.trim();
      void search.start(field.value);
    }, 250);
  });
  const rows = list(
    `evaluation on ${about.benchmark}`,
    (q) => {
      const [id, beginning] = about.questions[q]!;
      const { votes: all, right } = tally[q]!;
      const shown = `${right} of ${many(all, "vote")} right`;
      return {
        name: `${id}, ${shown}: ${beginning}`,
        content: [
          h(
            "span.row-head",
            {},
            h("b", {}, id),
            h("span.meter", { "--share": all > 0 ? right / all : 0, "aria-hidden": "true" }),
            h("span", {}, `${right}/${all}`),
          ),
          h("span.row-text", {}, beginning),
        ],
      };
    },
    (q) =>
      go(
        { question: about.questions[q]![0], system: about.systems[system()]!.name, seed: undefined, pass: undefined },
        true,
      ),
  );
  const summary = h("p.summary", { role: "status", "aria-live": "polite" });
  const selects = h("div.fields");
  const side = h(
    "nav.questions",
    { "aria-label": "questions of the evaluation" },
    field,
    selects,
    summary,
    rows.element,
  );
  const main = h("section.passes", { "aria-label": "passes", "aria-live": "polite" });
  const element = h("div.evaluation", {}, side, main);
  const names = about.systems.map(({ name }) => [name, name] as const);
  let shownSystem = "";

  app.view(() => {
    element.hidden = !isShown();
    if (element.hidden) return;
    const chosen = about.systems[system()];
    if (!chosen) return fill(main, h("p.warning", {}, "This evaluation has no rows."));
    recount();
    if (shownSystem !== chosen.name) {
      shownSystem = chosen.name;
      fill(
        selects,
        choice("System", names, chosen.name, (name) =>
          go({
            system: name,
            seed: undefined,
            pass: undefined,
            question: app.route.question ?? about.questions[0]?.[0],
          }),
        ),
        choice("Outcome", outcomes, outcome, (value) => {
          outcome = value;
          app.update({});
        }),
      );
    }
    const place = drawList();
    shownIn(main, drawPasses(place));
  });

  /** @returns the place of the question in view */
  function drawList(): number {
    const chosen = about.systems[system()]!;
    const hits = search.latest()?.hits;
    const items = about.questions.flatMap((_, q) => (tally[q]!.found && (words === "" || hits?.has(q)) ? [q] : []));
    const place = places.get(app.route.question ?? about.questions[items[0] ?? 0]?.[0] ?? "") ?? -1;
    rows.show(items, items.indexOf(place));
    fill(
      summary,
      `${thousands(items.length)} of ${many(tally.filter((one) => one.votes > 0).length, "question")} of ${chosen.name}${search.progress()}`,
    );
    return place;
  }

  async function drawPasses(place: number): Promise<void> {
    if (place < 0)
      return fill(main, h("p.warning", {}, `There is no question “${app.route.question ?? ""}” in this evaluation.`));
    const packet = await readPasses(index, place);
    if (!isShown()) return;
    const id = about.questions[place]![0];
    fill(
      main,
      h("h2", {}, id),
      packet.question
        ? [
            h("pre.text", {}, packet.question.question),
            h("p.faint", {}, "Reference answer: ", h("b", {}, packet.question.answer)),
          ]
        : h("p.faint", {}, "The run did not keep the questions of this evaluation."),
      seeds.map((seed) => seedPart(packet, id, seed)),
      section("All systems on this question", false, systemTable(packet, id)),
    );
  }

  /** The passes of the chosen system under one seed, and the vote. */
  function seedPart(packet: PassPacket, id: string, seed: number): Child {
    const chosen = system();
    const rowsOf = packet.system.flatMap((own, i) => (own === chosen && packet.seed[i] === seed ? [i] : []));
    if (rowsOf.length === 0) return null;
    const { turns, name } = about.systems[chosen]!;
    const passes = [...new Set(rowsOf.map((i) => packet.pass[i]!))].sort((a, b) => a - b);
    const at = (pass: number, turn: number) => rowsOf.find((i) => packet.pass[i] === pass && packet.turn[i] === turn);
    const open = app.route.seed === seed ? app.route.pass : undefined;
    const cell = (i: number | undefined) =>
      h("td", {}, i === undefined ? "–" : verdict(packet, packet.answer[i]!, packet.right[i]!));
    const link = (pass: number) =>
      h(
        "a",
        {
          href: formatRoute({ ...app.route, question: id, system: name, seed, pass }, app.about.setting),
          "aria-current": open === pass ? "true" : null,
        },
        `pass ${pass + 1}`,
      );
    const votesAt = turns.map((_, turn) => rowsOf.find((i) => packet.turn[i] === turn));
    return h(
      "div.seed",
      {},
      h(
        "table",
        {},
        h("caption", {}, `${name}, seed ${seed}`),
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            h("td"),
            turns.map((turn) => h("th", { scope: "col" }, turn)),
          ),
        ),
        h(
          "tbody",
          {},
          passes.map((pass) =>
            h(
              "tr",
              {},
              h("th", { scope: "row" }, link(pass)),
              turns.map((_, turn) => cell(at(pass, turn))),
            ),
          ),
          passes.length > 1 &&
            h(
              "tr.vote",
              {},
              h("th", { scope: "row" }, "vote"),
              votesAt.map((i) =>
                h("td", {}, i === undefined ? "–" : verdict(packet, packet.votedAnswer[i]!, packet.votedRight[i]!)),
              ),
            ),
        ),
      ),
      open !== undefined &&
        conversation(
          packet.question,
          app.about.extraction,
          turns.flatMap((turn, depth) => {
            const i = at(open, depth);
            if (i === undefined) return [];
            const tokens = packet.tokens[i]!;
            const answer = packet.answer[i]! < 0 ? null : packet.answers[packet.answer[i]!]!;
            return {
              ...{ role: turn, depth, text: packet.text[i]! < 0 ? null : packet.texts[packet.text[i]!]!, answer },
              correct: answer === null && packet.right[i] === 0 ? null : packet.right[i] === 1,
              note: tokens >= 0 && h("small", {}, many(tokens, "token")),
            };
          }),
        ),
    );
  }

  /** Every system's votes after its last turn, one column per seed. */
  function systemTable(packet: PassPacket, id: string): HTMLElement {
    const voteOf = (own: number, seed: number) =>
      packet.system.findIndex(
        (each, i) => each === own && packet.seed[i] === seed && packet.turn[i] === about.systems[own]!.turns.length - 1,
      );
    const link = (name: string) =>
      h(
        "a",
        {
          href: formatRoute(
            { ...app.route, question: id, system: name, seed: undefined, pass: undefined },
            app.about.setting,
          ),
        },
        name,
      );
    return h(
      "table",
      {},
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          h("th", { scope: "col" }, "system"),
          seeds.map((seed) => h("th", { scope: "col" }, `seed ${seed}`)),
        ),
      ),
      h(
        "tbody",
        {},
        about.systems.map(({ name }, own) =>
          h(
            "tr",
            {},
            h("th", { scope: "row" }, link(name)),
            seeds.map((seed) => {
              const i = voteOf(own, seed);
              return h("td", {}, i < 0 ? "–" : verdict(packet, packet.votedAnswer[i]!, packet.votedRight[i]!));
            }),
          ),
        ),
      ),
    );
  }
  return element;
}

function verdict({ answers }: PassPacket, answer: number, right: number): Child {
  const { sign, word } = mark(answer < 0 && right === 0 ? null : right === 1);
  return h(
    "span",
    { "data-verdict": word === "no answer" ? "none" : word, title: word },
    `${sign} ${answer < 0 ? "" : answers[answer]}`,
  );
}

function fits(votes: VoteColumns, i: number, outcome: Outcome): boolean {
  if (outcome === "right") return votes.voted[i] === 1;
  if (outcome === "wrong") return votes.voted[i] === 0;
  if (outcome === "corrected") return votes.corrected[i]! > 0;
  if (outcome === "broken") return votes.broken[i]! > 0;
  if (outcome === "split") return votes.answers[i]! > 1;
  return true;
}

/** The tabs between the trees and the evaluations. */
export function tabs(app: App, about: About): HTMLElement {
  const element = h("nav.tabs", { "aria-label": "views" });
  const link = (label: string, benchmark: string | null) =>
    h(
      "a",
      {
        href: formatRoute({ benchmark, setting: app.route.setting }, about.setting),
        "aria-current": app.route.benchmark === benchmark ? "page" : null,
      },
      label,
    );
  app.view(() =>
    fill(
      element,
      about.evaluations.length > 0 && [
        link("Trees", null),
        about.evaluations.map(({ benchmark }) => link(`Evaluation on ${benchmark}`, benchmark)),
      ],
    ),
  );
  return element;
}
