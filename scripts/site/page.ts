/** The pages of the site as HTML: what all have in common, the front page, the gallery, and files shown as they are. */
import { posix } from "node:path";
import { escapeHtml } from "../../src/show/notebook.js";
import type { Document, Figure, Picture } from "./document.js";

/** The explorer of a recorded run. */
export interface Explorer {
  name: string;
  place: string;
  /** What the run is: questions, benchmark, model. */
  about: string;
}

/** What the front page and the gallery show. */
export interface Contents {
  notebooks: readonly Document[];
  explorers: readonly Explorer[];
  /** The tree and the comparison that the front page shows. */
  tree: Picture;
  systems: Picture;
  /** The address of that tree in the explorer. */
  treePlace: string;
  /** `OWNER/NAME` on GitHub, where it is known. */
  repository?: string | undefined;
}

/** A mark in the browser's tab; a file of its own would be one more thing to find. */
const icon =
  "data:image/svg+xml," +
  encodeURIComponent(
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><path d="M8 3 3 12M8 3v9M8 3l5 9" stroke="#005a8c"/>' +
      '<g fill="#005a8c"><circle cx="8" cy="3" r="2.5"/><circle cx="3" cy="12" r="2.5"/><circle cx="8" cy="12" r="2.5"/>' +
      '<circle cx="13" cy="12" r="2.5"/></g></svg>',
  );

/** A page. @param place from the site's folder on; links in it go from there, so that the site works below any address */
export function frame(place: string, title: string, body: string, description = title): string {
  const to = (target: string) => posix.relative(posix.dirname(place), target.split("#")[0]!) + anchorOf(target);
  const places = {
    Notebooks: "index.html#notebooks",
    Explorers: "index.html#explorers",
    Gallery: "gallery.html",
    Course: "notebooks/COURSE.html",
    Manual: "README.html",
  };
  const here = (target: string) => (target === place ? ' aria-current="page"' : "");
  const links = Object.entries(places).map(([name, target]) => `<a href="${to(target)}"${here(target)}>${name}</a>`);
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="description" content="${escapeHtml(description)}">
<title>${escapeHtml(title)}${place === "index.html" ? "" : " · malt-notebooks"}</title>
<link rel="icon" href="${icon}">
<link rel="stylesheet" href="${to("style.css")}">
</head>
<body>
<a class="skip" href="#content">To the content</a>
<header><a class="home" href="${to("index.html")}">malt-notebooks</a><nav aria-label="Site">${links.join("\n")}</nav></header>
<main id="content">
${body}
</main>
</body>
</html>
`;
}

const anchorOf = (target: string): string => (target.includes("#") ? target.slice(target.indexOf("#")) : "");

/** A notebook or a Markdown file, with links to the pages before and after it. */
export function documentPage({ source, title, html }: Document, before?: Document, after?: Document): string {
  const turn = (label: string, other?: Document) =>
    other
      ? `<a href="${posix.relative(posix.dirname(source.place), other.source.place)}">${label} ${escapeHtml(other.title)}</a>`
      : "<span></span>";
  const turns =
    before || after ? `<nav class="turn" aria-label="Notebooks">${turn("←", before)}${turn("→", after)}</nav>` : "";
  return frame(source.place, title, `<article class="${source.kind}">\n${html}\n</article>\n${turns}`);
}

/** A file of the repo as text, or the names in a folder. */
export const textPage = (place: string, path: string, text: string): string =>
  frame(
    place,
    path,
    `<article>\n<h1>${escapeHtml(path)}</h1>\n<pre class="file">${escapeHtml(text)}</pre>\n</article>`,
  );

/** A picture on a page in the site's own folder. */
const image = ({ place, alt, width, height }: Picture, loading = "eager"): string =>
  `<img src="${place}" alt="${escapeHtml(alt)}" width="${width}" height="${height}" loading="${loading}">`;

/** What a notebook is about, from the line below its title: "03 · about · minutes · what it needs". */
const about = (subtitle: string): string => subtitle.split(" · ").slice(1, -1).join(" · ");

export function frontPage(contents: Contents): string {
  const { notebooks, explorers, tree, systems, treePlace, repository } = contents;
  const rows = notebooks.map(
    ({ source, title, subtitle }) =>
      `<tr><td>${escapeHtml(subtitle.split(" · ")[0]!)}</td><td><a href="${source.place}">${escapeHtml(title)}</a></td>` +
      `<td>${escapeHtml(about(subtitle))}</td></tr>`,
  );
  const runs = explorers.map(
    ({ name, place, about }) => `<li><a href="${encodeURI(place)}">${escapeHtml(name)}</a>: ${escapeHtml(about)}</li>`,
  );
  const opened = encodeURIComponent("lab/tree/notebooks/00-quickstart.ipynb");
  const launch = repository
    ? `<li><a href="https://mybinder.org/v2/gh/${repository}/HEAD?urlpath=${opened}">Start JupyterLab on Binder</a>: nothing to install, in the browser</li>
<li><a href="https://codespaces.new/${repository}">Open in GitHub Codespaces</a>: the same on a machine of your own</li>
<li><a href="https://github.com/${repository}">The source on GitHub</a></li>`
    : "";
  const step = (name: string, what: string) => `<li><strong>${name}</strong><span>${what}</span></li>`;
  return frame(
    "index.html",
    "malt-notebooks: how a team of language models learns who did well",
    `<section class="lead">
<h1>How does a team of language models learn who did well?</h1>
<p>MALT trains three copies of one model as a team: one answers, one criticises, one writes the final answer. In these
notebooks you sample such teams, see what each output was worth, train the roles and measure the gain, on a laptop.</p>
<p class="actions">
<a class="action" href="${notebooks[0]!.source.place}">Read the story in five minutes</a>
<a class="action" href="${treePlace}">Click through a tree</a>
<a class="action" href="#run">Run it yourself</a>
</p>
<ol class="loop">
${step("Question", "with a known answer")}
${step("Generator", "answers, 3 times")}
${step("Verifier", "criticises each answer, 3 times")}
${step("Refiner", "writes a final answer, 3 times")}
${step("Graded", "right or wrong")}
</ol>
<p class="back"><span aria-hidden="true">↩</span> What became of an output is its value. Good outputs are examples for their role; a good and a bad one side by
side are a pair to learn from.</p>
</section>
<figure><a href="${treePlace}">${image(tree)}</a>
<figcaption>One question, sampled: three answers, nine critiques, twenty-seven final answers, coloured by their value. Click it to read them.</figcaption></figure>
<section id="notebooks"><h2>Notebooks</h2>
<p>Each asks one question and answers it with figures from a recorded run. For a class, or beside the paper, begin with
<a href="notebooks/COURSE.html">the course</a>.</p>
<table class="list"><tbody>
${rows.join("\n")}
</tbody></table></section>
<section id="explorers"><h2>Explorers</h2>
<p>Every output of a recorded run: filter and search them, read what each role saw and said, move the threshold and see
labels and pairs change.</p>
<ul>
${runs.join("\n")}
</ul></section>
<section id="results"><h2>What was measured</h2>
<figure>${image(systems)}
<figcaption>The team against its baselines, on held-out questions. All figures are in the <a href="gallery.html">gallery</a>.</figcaption></figure></section>
<section id="run"><h2>Run it yourself</h2>
<pre>npm start     # set-up, then the whole loop, with Node.js ≥ 20.19 and Python ≥ 3.10
npm run lab   # JupyterLab on the notebooks</pre>
<p>Run these in a copy of the repository. It needs no GPU and no account; the <a href="README.html">manual</a> has everything else. With Docker:</p>
<pre>docker build -t malt-notebooks . && docker run --rm -it --init -p 127.0.0.1:8888:8888 malt-notebooks</pre>
${launch && `<ul>\n${launch}\n</ul>`}
<p>The method is that of <a href="https://arxiv.org/abs/2412.01928">MALT: Improving Reasoning with Multi-Agent LLM Training</a>
(Motwani et al.). The model of the recorded run is small and made for this, so the gain says nothing about other models.</p></section>`,
    "Notebooks that show, measure and train MALT, a generator, a verifier and a refiner made from one language model",
  );
}

/** All figures, notebook by notebook, each a link to the cell that drew it. */
export function galleryPage(notebooks: readonly Document[]): string {
  const picture = ({ source }: Document, figure: Figure) =>
    `<li><a href="${source.place}#${encodeURIComponent(figure.cell)}">${image(figure, "lazy")}</a></li>`;
  const parts = notebooks
    .filter(({ figures }) => figures.length > 0)
    .map(
      (book) =>
        `<section><h2><a href="${book.source.place}">${escapeHtml(book.title)}</a></h2>\n<ul class="gallery">\n` +
        `${book.figures.map((figure) => picture(book, figure)).join("\n")}\n</ul></section>`,
    );
  return frame(
    "gallery.html",
    "Gallery",
    `<h1>Gallery</h1>\n<p>Every figure of the notebooks; click one to see how it is made.</p>\n${parts.join("\n")}`,
  );
}
