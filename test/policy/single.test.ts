import { expect, it } from "vitest";
import { onePerRequest } from "../../src/policy/single.js";
import type { CompletionRequest } from "../../src/types.js";
import { team } from "../team.js";

const sampling = {
  ...{ temperature: 0.3, top_p: 1, max_tokens: 9, presence_penalty: 0, frequency_penalty: 0 },
  extra: {},
};
const request: CompletionRequest = {
  ...{ policy: { model: "m", adapter: null }, messages: [{ role: "user", content: "2 + 2?" }] },
  ...{ n: 3, seed: 40, sampling },
};

it("asks for n choices one after another, and gets those of one request with n choices", async () => {
  let [inFlight, peak] = [0, 0];
  const { policy, requests } = team({
    complete: (honest) => async (one, signal) => {
      peak = Math.max(peak, ++inFlight);
      const all = await honest(one, signal);
      inFlight--;
      return all;
    },
  });
  const whole = await team().policy.complete(request);
  expect(await onePerRequest(policy).complete(request)).toEqual(whole);
  expect(requests.map(({ n, seed }) => [n, seed])).toEqual([
    [1, 40],
    [1, 41],
    [1, 42],
  ]);
  expect(peak).toBe(1);
});

it("stops at the first that fails, and leaves the rest of the policy as it is", async () => {
  let asked = 0;
  const { policy } = team({ complete: () => async () => Promise.reject(new Error(`no ${++asked}`)) });
  const single = onePerRequest(policy);
  await expect(single.complete(request)).rejects.toThrow("no 1");
  expect(asked).toBe(1);
  expect(single).toMatchObject({
    baseURL: policy.baseURL,
    models: policy.models,
    info: policy.info,
    load: policy.load,
  });
});
