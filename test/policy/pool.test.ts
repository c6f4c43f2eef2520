import { afterEach, expect, it, vi } from "vitest";
import { UnreachableError } from "../../src/errors.js";
import { openaiPolicy, requireModel } from "../../src/policy/openai.js";
import { policyPool } from "../../src/policy/pool.js";
import { defaultSampling } from "../../src/sample/sample.js";
import { type FakeOptions, type FakeServer, startFakeServer } from "../fake-server.js";

const servers: FakeServer[] = [];
afterEach(async () => {
  for (const server of servers.splice(0)) await server.stop();
});
async function pool(...options: FakeOptions[]) {
  const started = await Promise.all(options.map((each) => startFakeServer(each)));
  servers.push(...started);
  return { started, policy: policyPool(started.map(({ baseURL }) => openaiPolicy({ baseURL, maxRetries: 0 }))) };
}
const ask = (seed: number) => ({
  policy: { model: "fake", adapter: null },
  messages: [{ role: "user" as const, content: "What is 5 + 7?" }],
  n: 1,
  seed,
  sampling: defaultSampling,
});
const metrics = (running: number): FakeOptions => ({
  pages: {
    "/metrics": () => ({
      fault: {
        status: 200,
        type: "text/plain",
        body: `vllm:num_requests_running ${running}\nvllm:num_requests_waiting 1\nvllm:kv_cache_usage_perc 0.${running}\n`,
      },
    }),
  },
});

it("asks the server with the fewest requests in flight", async () => {
  let open = () => {};
  const gate = new Promise<undefined>((resolve) => {
    open = () => resolve(undefined);
  });
  const { started, policy } = await pool({ before: () => gate }, {}, { before: () => gate });
  const held = [policy.complete(ask(0)), policy.complete(ask(1)), policy.complete(ask(2))];
  await held[1];
  for (let seed = 3; seed < 8; seed++) await policy.complete(ask(seed));
  open();
  await Promise.all(held);
  expect(started.map(({ requests }) => requests.length)).toEqual([1, 6, 1]);
});

it("goes on with the others when one is gone, and gives up when all are", async () => {
  const { started, policy } = await pool({}, {});
  await policy.info();
  await started[0]!.stop();
  const before = started[0]!.requests.length;
  for (let seed = 0; seed < 4; seed++) await policy.complete(ask(seed));
  expect([started[0]!.requests.length - before, started[1]!.requests.length]).toEqual([0, 4]);
  await started[1]!.stop();
  await expect(policy.complete(ask(9))).rejects.toBeInstanceOf(UnreachableError);
});

it("serves the models that all of them serve", async () => {
  const { policy } = await pool({ models: ["base", "old"] }, { models: ["new", "base"] });
  expect(await policy.models()).toEqual(["base"]);
  const { policy: other } = await pool({ models: ["a"] }, { models: ["b"] });
  await expect(other.models()).rejects.toThrow("no model in common: a / b");
});

it("is asked for a model that those who list theirs have, with a warning about the others", async () => {
  const { started, policy } = await pool({ models: [] }, { models: ["base", "old"] }, { models: ["base"] });
  const warn = vi.spyOn(process, "emitWarning").mockImplementation(() => {});
  await requireModel("base", policy);
  await expect(requireModel("old", policy)).rejects.toThrow('model "old" is not served');
  expect(warn.mock.calls.map(([text]) => text)).toEqual([
    expect.stringContaining(`${started[0]!.baseURL} does not list its models`),
  ]);
  warn.mockRestore();
  const { policy: none } = await pool({ models: [] }, { modelsFault: { status: 404, body: "" } });
  expect(await none.models()).toEqual([]);
});

it("is as busy as all of them together, or does not know", async () => {
  const { policy } = await pool(metrics(3), metrics(5));
  expect(await policy.load()).toEqual({ running: 8, waiting: 2, cache: 0.5 });
  const { policy: half } = await pool(metrics(3), {});
  expect(await half.load()).toBeNull();
});
