import { openRun, estimatorErrors } from "./src/index.js";
import { estimatorTable } from "./src/show/credit.js";
import { searchStored } from "./src/credit/search-stored.js";
import { treeSize } from "./src/credit/score.js";
import { maltRoles } from "./src/team/prompts.js";
const run = await openRun("data/recorded-wide");
const nodes = await run.nodes();
let t = performance.now();
console.log(estimatorTable(estimatorErrors(nodes, run.roles), 3), performance.now() - t);
t = performance.now();
const row = (name: string, team: any, budget: number) => {
  const all = Array.from({length: 8}, (_, turn) => searchStored(nodes, team, {kind:"adaptive", budget, threshold: 0.5}, {turn})).flat();
  const by = [0,1].map((d) => { const l = all.filter(x => x.depth === d); return [l.length/160, l.filter(x => (x.value > .5) !== (x.node.value! > .5)).length / l.length]; });
  console.log(name, budget, all.length/160, by, performance.now()-t);
};
for (const n of [2,3,4,5,6]) row("full "+n, maltRoles(n), treeSize(maltRoles(n)));
for (const b of [14,21,30,39,60,84,155]) row("adaptive", run.roles, b);
run.close();
