/**
 * A stand-in for OpenAI's fine-tuning API, as strict as its documentation: every request is checked against the documented
 * fields and bounds (API reference and OpenAPI description, files and fine-tuning), every line of a file against the documented forms.
 * Jobs go one state on each time they are looked at; faults are injected by the test.
 */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import * as z from "zod";

const message = z.strictObject({ role: z.enum(["system", "user", "assistant"]), content: z.string() });
const chat = z.array(message).min(1);
const said = z.array(message.extend({ role: z.literal("assistant") })).length(1);
const supervisedLine = z.strictObject({ messages: chat.refine((all) => all.at(-1)!.role === "assistant") });
const preferenceLine = z.strictObject({
  input: z.strictObject({
    messages: chat,
    tools: z.array(z.unknown()).optional(),
    parallel_tool_calls: z.boolean().optional(),
  }),
  preferred_output: said,
  non_preferred_output: said,
});

const auto = z.literal("auto");
const hyperparameters = {
  n_epochs: z.union([auto, z.number().int().min(1).max(50)]).optional(),
  batch_size: z.union([auto, z.number().int().min(1).max(256)]).optional(),
  learning_rate_multiplier: z.union([auto, z.number().positive()]).optional(),
};
const beta = z.union([auto, z.number().positive().max(2)]).optional();
const jobRequest = z.strictObject({
  model: z.string().min(1),
  training_file: z.string().regex(/^file-/),
  method: z.discriminatedUnion("type", [
    z.strictObject({
      type: z.literal("supervised"),
      supervised: z.strictObject({ hyperparameters: z.strictObject(hyperparameters).optional() }),
    }),
    z.strictObject({
      type: z.literal("dpo"),
      dpo: z.strictObject({ hyperparameters: z.strictObject({ ...hyperparameters, beta }).optional() }),
    }),
  ]),
  seed: z.number().int().min(0).max(2_147_483_647).nullish(),
  suffix: z.string().min(1).max(64).nullish(),
  metadata: z.record(z.string().max(64), z.string().max(512)).refine((all) => Object.keys(all).length <= 16),
  validation_file: z.string().nullish(),
});

export interface StandInJob {
  id: string;
  request: z.infer<typeof jobRequest>;
  /** What is left of its states. */
  states: string[];
  status: string;
  error: { code: string; message: string; param: string | null } | null;
  fine_tuned_model: string | null;
  events: object[];
}

export interface StandInOptions {
  models?: string[];
  /** The states a job goes through after its creation; by default to success. */
  states?: (request: StandInJob["request"], ordinal: number) => string[];
  /** Of a job that fails. */
  error?: StandInJob["error"];
  /** Called before a request is handled: a fault in place of an answer, or after what was asked has been done. */
  fault?: (method: string, path: string, ordinal: number) => Fault | undefined;
}

export type Fault = { when: "before" | "after"; status?: number; body?: unknown; headers?: Record<string, string> };

export interface StandIn {
  baseURL: string;
  files: Map<string, { name: string; text: string }>;
  jobs: StandInJob[];
  /** Method and path of every request. */
  requests: string[];
  /** What the documentation does not allow; empty after a good test. */
  violations: string[];
  stop(): Promise<void>;
}

/** Starts the stand-in on a free port. The only key it accepts is `key`. */
export async function standIn(key: string, options: StandInOptions = {}): Promise<StandIn> {
  const { models = ["base-model"], fault, error = null } = options;
  const states = options.states ?? (() => ["validating_files", "queued", "running", "running", "succeeded"]);
  const here = {
    files: new Map<string, { name: string; text: string }>(),
    jobs: [] as StandInJob[],
    requests: [] as string[],
    violations: [] as string[],
  };
  const made = new Set(models);

  const shownJob = (job: StandInJob) => ({
    object: "fine_tuning.job",
    id: job.id,
    created_at: 1_700_000_000,
    error: job.error ?? {},
    fine_tuned_model: job.fine_tuned_model,
    finished_at: null,
    estimated_finish: job.status === "running" ? 1_700_000_100 : null,
    hyperparameters: {},
    model: job.request.model,
    organization_id: "org-x",
    result_files: [],
    seed: job.request.seed,
    status: job.status,
    trained_tokens: job.status === "succeeded" ? 1234 : null,
    training_file: job.request.training_file,
    validation_file: null,
    method: job.request.method,
    metadata: job.request.metadata,
  });
  const shownFile = ([id, { name, text }]: [string, { name: string; text: string }]) => ({
    ...{ object: "file", id, bytes: Buffer.byteLength(text), created_at: 1_700_000_000, filename: name },
    ...{ purpose: "fine-tune", status: "processed" },
  });
  const page = (data: object[]) => ({ object: "list", data, has_more: false });

  /** One state on. */
  const advance = (job: StandInJob) => {
    const next = job.states.shift();
    if (next === undefined) return;
    job.status = next;
    const at = 1_700_000_000 + job.events.length;
    const about = { object: "fine_tuning.job.event", created_at: at, id: `ev-${job.id}-${job.events.length}` };
    if (next === "running") {
      const done = job.events.length;
      const data = { step: done, total_steps: 9, train_loss: 0.5, train_mean_token_accuracy: 0.9 };
      job.events.push({ ...about, level: "info", type: "metrics", message: `Step ${done}/9`, data });
    } else
      job.events.push({
        ...about,
        level: next === "failed" ? "error" : "info",
        type: "message",
        message: `now ${next} (key ${key})`,
      });
    if (next === "succeeded") {
      job.fine_tuned_model = `ft:${job.request.model.split(":").at(-1)}:org::${job.request.metadata.malt_stage}-${job.id}`;
      made.add(job.fine_tuned_model);
    }
    if (next === "failed") job.error = error;
  };

  const act = async (method: string, path: string, request: IncomingMessage, body: Buffer): Promise<unknown> => {
    const wrong = (what: string) => {
      here.violations.push(`${method} ${path}: ${what}`);
      return { status: 400, error: { message: what, type: "invalid_request_error", param: null, code: null } };
    };
    const [, id, tail] = /^\/fine_tuning\/jobs\/([^/]+)(?:\/(\w+))?$/.exec(path) ?? [];
    const job = here.jobs.find((each) => each.id === id);
    if (id !== undefined && !job) return wrong(`no job ${id}`);
    if (method === "GET" && path === "/files") return page([...here.files].map(shownFile).reverse());
    if (method === "GET" && path === "/fine_tuning/jobs") return page(here.jobs.map(shownJob).reverse());
    if (method === "POST" && path === "/files") {
      const type = request.headers["content-type"] ?? "";
      if (!/^multipart\/form-data; boundary=/.test(type)) return wrong(`content-type ${type}`);
      const form = await new Response(new Uint8Array(body), { headers: { "content-type": type } }).formData();
      const fields = [...form.keys()].sort().join();
      if (fields !== "file,purpose") return wrong(`fields ${fields}`);
      if (form.get("purpose") !== "fine-tune") return wrong(`purpose ${form.get("purpose")}`);
      const file = form.get("file") as File;
      if (!file.name.endsWith(".jsonl")) return wrong(`file name ${file.name}`);
      if (file.size > 512 * 2 ** 20) return wrong("file of more than 512 MB");
      const text = await file.text();
      const lines = text.split("\n").filter(Boolean);
      for (const line of lines) {
        const row = JSON.parse(line) as object;
        const read = ("messages" in row ? supervisedLine : preferenceLine).safeParse(row);
        if (!read.success) return wrong(`line ${line}: ${read.error.issues[0]!.message}`);
      }
      const entry = [`file-${here.files.size}`, { name: file.name, text }] as [string, { name: string; text: string }];
      here.files.set(...entry);
      return shownFile(entry);
    }
    if (method === "POST" && path === "/fine_tuning/jobs") {
      const read = jobRequest.safeParse(JSON.parse(body.toString()));
      if (!read.success) return wrong(`${read.error.issues[0]!.path.join(".")}: ${read.error.issues[0]!.message}`);
      const asked = read.data;
      const file = here.files.get(asked.training_file);
      if (!file) return wrong(`no file ${asked.training_file}`);
      if (!made.has(asked.model)) return wrong(`no model ${asked.model}`);
      const isPairs = file.text.includes('"preferred_output"');
      if (isPairs !== (asked.method.type === "dpo")) return wrong(`method ${asked.method.type} on ${file.name}`);
      if (file.text.split("\n").length - 1 < 10) return wrong(`${file.name} has fewer than 10 examples`);
      const next: StandInJob = {
        ...{ id: `ftjob-${here.jobs.length}`, request: asked, states: states(asked, here.jobs.length) },
        ...{ status: "validating_files", error: null, fine_tuned_model: null, events: [] },
      };
      here.jobs.push(next);
      return shownJob(next);
    }
    if (method === "GET" && job && tail === undefined) {
      advance(job);
      return shownJob(job);
    }
    if (method === "GET" && job && tail === "events") return page([...job.events].reverse());
    if (method === "GET" && job && tail === "checkpoints") {
      if (job.status !== "succeeded") return page([]);
      const about = {
        object: "fine_tuning.job.checkpoint",
        id: "ckpt-1",
        created_at: 1_700_000_000,
        metrics: { step: 5 },
      };
      return page([
        {
          ...about,
          fine_tuning_job_id: job.id,
          step_number: 5,
          fine_tuned_model_checkpoint: `${job.fine_tuned_model}:ckpt-step-5`,
        },
      ]);
    }
    if (method === "POST" && job && tail === "cancel") {
      if (["succeeded", "failed", "cancelled"].includes(job.status)) return wrong(`job ${id} has ended`);
      job.status = "cancelled";
      job.states = [];
      return shownJob(job);
    }
    return wrong("no such page");
  };

  const handle = async (request: IncomingMessage, response: ServerResponse) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const path = request.url!.replace(/^\/v1/, "").replace(/\?.*$/, "");
    const method = request.method!;
    const ordinal = here.requests.push(`${method} ${path}`) - 1;
    const send = (status: number, body: unknown, headers = {}) =>
      response.writeHead(status, { "content-type": "application/json", ...headers }).end(JSON.stringify(body));
    if (request.headers.authorization !== `Bearer ${key}`) {
      const words = `Incorrect API key provided: ${request.headers.authorization?.slice(7)}.`;
      return void send(401, { error: { message: words, type: "invalid_request_error", code: "invalid_api_key" } });
    }
    const struck = fault?.(method, path, ordinal);
    const answer =
      struck?.when === "before"
        ? null
        : ((await act(method, path, request, Buffer.concat(chunks))) as { status?: number });
    if (struck?.status === undefined && struck) return void response.destroy();
    if (struck) return void send(struck.status!, struck.body ?? { error: { message: "try later" } }, struck.headers);
    send(typeof answer?.status === "number" ? answer.status : 200, answer);
  };
  const server = createServer(
    (request, response) => void handle(request, response).catch((cause) => response.destroy(cause)),
  );
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  const stop = () =>
    new Promise<void>((done) => {
      server.close(() => done());
      server.closeAllConnections();
    });
  return { ...here, baseURL: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`, stop };
}
