import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { HubSettings } from "../../src/environment.js";
import { hubSettings } from "../../src/environment.js";
import { InputError, RefusedError, RunError, ServerError, UnreachableError } from "../../src/errors.js";
import { hubWeights, parseHub, parseHubSource } from "../../src/models/hub.js";
import type { HubWeights } from "../../src/models/table.js";
import { type FakeHub, type FakeHubOptions, sha256, startFakeHub } from "../fake-hub.js";

const repo = "someone/model-GGUF";
const commit = "a".repeat(40);
const later = "b".repeat(40);
const bytes = Buffer.concat([Buffer.from("GGUF"), Buffer.alloc(300_000, "weights ")]);
const token = "hf_secretsecretsecret";

let cache: string;
let said: string[];
const hubs: FakeHub[] = [];
beforeEach(async () => {
  cache = join(await mkdtemp(join(tmpdir(), "malt-hub-")), "models");
  said = [];
});
afterEach(async () => {
  for (const hub of hubs.splice(0)) await hub.stop();
  await rm(join(cache, ".."), { recursive: true, force: true });
});

async function fakeHub(changes: Partial<FakeHubOptions> = {}): Promise<FakeHub> {
  const hub = await startFakeHub({ repo, commit, files: new Map([["model-q4.gguf", bytes]]), ...changes });
  hubs.push(hub);
  return hub;
}

/** What `--hf text` gets. */
function get(hub: FakeHub | string, text: string, changes: Partial<HubSettings> & Partial<HubWeights> = {}) {
  const { token = null, isOffline = false, sha256 } = changes;
  const endpoint = typeof hub === "string" ? hub : hub.endpoint;
  const hooks = { onStatus: (line: string) => void said.push(line) };
  return hubWeights({ ...parseHub(text), sha256 }, hooks, { endpoint, token, isOffline }, cache);
}
const error = (promise: Promise<unknown>) =>
  promise.then(
    () => expect.fail("no error"),
    (reason: Error) => reason,
  );
const copies = async () =>
  existsSync(cache)
    ? (await readdir(cache, { recursive: true })).filter((name) => /gguf|partial/.test(name)).sort()
    : [];

describe("a name on the hub", () => {
  it.each([
    ["a/b", { repo: "a/b", revision: "main", file: null }],
    ["a/b:m.gguf", { repo: "a/b", revision: "main", file: "m.gguf" }],
    ["a/b@v1.0:sub folder/M-Q4.GGUF", { repo: "a/b", revision: "v1.0", file: "sub folder/M-Q4.GGUF" }],
    ["a-b.c/d_e@refs/pr/1", { repo: "a-b.c/d_e", revision: "refs/pr/1", file: null }],
  ])("%s", (text, expected) => {
    expect(parseHub(text)).toEqual({ from: "hub", ...expected });
  });

  it.each([
    "a",
    "a/b/c",
    "../b",
    "a/..",
    "a/b@",
    "a/b@../x",
    "a/b:",
    "a/b:m.safetensors",
    "a/b:../m.gguf",
    "a/b:/m.gguf",
    "a/b:x//m.gguf",
    "a/b:x\\m.gguf",
    "a/b:m\n.gguf",
    "https://huggingface.co/a/b",
    "",
  ])("%j is none", (text) => {
    expect(() => parseHub(text)).toThrow("--hf must be OWNER/NAME[@REVISION][:FILE]");
  });

  it("is recorded with the commit, and read again", () => {
    expect(parseHubSource(`hf://a/b@${commit}/x/m.gguf`)).toEqual(parseHub(`a/b@${commit}:x/m.gguf`));
    for (const other of ["/x/m.gguf", "hf://a/b/m.gguf", "hf://a/b@main/m.gguf"])
      expect(parseHubSource(other)).toBeNull();
  });
});

describe("a download from the hub", () => {
  it("follows to another host, where the token does not go, and has the SHA-256 that the hub says", async () => {
    const hub = await fakeHub({ token });
    const found = await get(hub, repo, { token });
    expect(found).toMatchObject({ source: `hf://${repo}@${commit}/model-q4.gguf`, sha256: sha256(bytes) });
    expect(await readFile(found.path)).toEqual(bytes);
    expect(hub.downloads()).toMatchObject([{ method: "GET", token: null }]);
    const asked = hub.requests.filter(({ host }) => host === "hub");
    expect(new Set(asked.map((request) => request.token))).toEqual(new Set([`Bearer ${token}`]));
    expect(said.join()).toContain(`Downloading hf://${repo}@${commit}/model-q4.gguf (300 kB)`);
    expect(said.join()).not.toContain(token);
  });

  it("is made once: a copy is not fetched again, and that of a commit not even asked for", async () => {
    const hub = await fakeHub();
    const first = await get(hub, repo);
    expect(await get(hub, `${repo}:model-q4.gguf`)).toEqual(first);
    expect(hub.downloads()).toHaveLength(1);
    const before = hub.requests.length;
    expect(await get(hub, `${repo}@${commit}:model-q4.gguf`)).toEqual(first);
    expect(hub.requests).toHaveLength(before);
  });

  it("of a branch that has moved on takes the new file, or the old copy where the bytes are the same", async () => {
    const hub = await fakeHub();
    const first = await get(hub, repo);
    hub.options.commit = later;
    const same = await get(hub, repo);
    expect(same).toEqual({ ...first, source: `hf://${repo}@${later}/model-q4.gguf` });
    expect(hub.downloads()).toHaveLength(1);
    hub.options.files.set("model-q4.gguf", Buffer.concat([bytes, bytes]));
    expect((await get(hub, repo)).sha256).not.toBe(first.sha256);
    // What a run recorded is still there.
    expect(await get(hub, `${repo}@${commit}:model-q4.gguf`)).toEqual(first);
  });

  it("that is cut off goes on where it was, from the hub's own address", async () => {
    const hub = await fakeHub({ cutAfter: (request) => [100_000, 50_000][request] });
    expect(await readFile((await get(hub, repo)).path)).toEqual(bytes);
    const ranges = hub.downloads().map(({ range }) => range);
    expect(ranges).toEqual([null, "bytes=100000-", "bytes=150000-"]);
    expect(said.filter((line) => line.includes("broke off"))).toHaveLength(2);
    expect(hub.requests.filter(({ method, host }) => method === "GET" && host === "hub")).toHaveLength(4);
  });

  it("goes on from what a process that is gone had fetched", async () => {
    const hub = await fakeHub();
    const folder = join(cache, "someone--model-GGUF", sha256(bytes).slice(0, 16));
    await mkdir(folder, { recursive: true });
    // No process has this number.
    await writeFile(join(folder, `model-q4.gguf.${2 ** 22 + 1}.partial`), bytes.subarray(0, 299_000));
    expect(await readFile((await get(hub, repo)).path)).toEqual(bytes);
    expect(hub.downloads().map(({ range }) => range)).toEqual(["bytes=299000-"]);
    expect(await copies()).toHaveLength(1);
  });

  it("begins anew where the host knows no ranges, or what is there does not fit", async () => {
    const hub = await fakeHub({ cutAfter: (request) => [100_000][request], ranges: false });
    expect(await readFile((await get(hub, repo)).path)).toEqual(bytes);
    const folder = join(cache, "someone--model-GGUF", sha256(bytes).slice(0, 16));
    await rm(folder, { recursive: true });
    await mkdir(folder, { recursive: true });
    await writeFile(join(folder, `model-q4.gguf.${2 ** 22 + 1}.partial`), Buffer.concat([bytes, bytes]));
    hub.options.ranges = true;
    expect(await readFile((await get(hub, repo)).path)).toEqual(bytes);
  });

  it("that gets no further ends with how to go on, and keeps what is there", async () => {
    const hub = await fakeHub({ cutAfter: (request) => (request === 0 ? 100_000 : 0) });
    const { message } = await error(get(hub, repo));
    expect(message).toMatch(/broke off \(.*\) with 100 kB; run the same command again to go on$/);
    hub.options.cutAfter = () => undefined;
    await get(hub, repo);
    expect(hub.downloads().at(-1)!.range).toBe("bytes=100000-");
  }, 60_000);

  it("of other bytes than the hub says is refused and removed", async () => {
    const hub = await fakeHub({ says: "0".repeat(64) });
    const reason = await error(get(hub, repo));
    expect(reason).toBeInstanceOf(ServerError);
    expect(reason.message).toContain(
      `with SHA-256 ${sha256(bytes)}, but has ${"0".repeat(64)} at the hub; it is removed`,
    );
    expect(await copies()).toEqual([]);
  });

  it("of more bytes than the hub says is refused", async () => {
    const hub = await fakeHub({ size: 200_000, files: new Map([["model-q4.gguf", bytes]]) });
    expect((await error(get(hub, repo))).message).toContain("has more bytes than the hub says (200000)");
    expect(await copies()).toEqual([]);
  });

  it("that does not fit on the disk is not begun", async () => {
    const hub = await fakeHub({ size: 2 ** 52 });
    const reason = await error(get(hub, repo));
    expect(reason).toBeInstanceOf(RunError);
    expect(reason.message).toMatch(/needs 4503599.6 GB more, and .* has room for .*; make room/);
    expect(hub.downloads()).toEqual([]);
  });

  it("of a file without a SHA-256 at the hub records that of its bytes", async () => {
    const hub = await fakeHub({ says: null, answer: withoutRedirect });
    expect(await get(hub, `${repo}:model-q4.gguf`)).toMatchObject({ sha256: sha256(bytes) });
  });

  it("that two of a process want is made once", async () => {
    const hub = await fakeHub();
    const [one, other] = await Promise.all([get(hub, repo), get(hub, repo)]);
    expect(one).toEqual(other);
    expect(hub.downloads()).toHaveLength(1);
  });

  it("replaces a copy that was changed since", async () => {
    const hub = await fakeHub();
    const { path } = await get(hub, repo);
    await writeFile(path, "GGUF");
    expect(await readFile((await get(hub, repo)).path)).toEqual(bytes);
    expect(said.join("\n")).toMatch(/has SHA-256 .*, not .*; it is not used/);
  });
});

/** A small file, which the hub sends itself, with a hash that is none of its bytes. */
function withoutRedirect({ url, method }: { url: string; method: string }) {
  if (!url.includes("/resolve/")) return undefined;
  const headers = { etag: `"${"c".repeat(40)}"`, "content-length": `${bytes.length}` };
  return { status: 200, headers, ...(method === "GET" && { body: bytes.toString("latin1") }) };
}

describe("which file", () => {
  const files = new Map(
    ["b-q8.gguf", "a-q4.gguf", "big-00001-of-00002.gguf", "big-00002-of-00002.gguf"].map((n) => [n, bytes]),
  );

  it("of several has to be named; the error lists them", async () => {
    const hub = await fakeHub({ files });
    const reason = await error(get(hub, repo));
    expect(reason).toBeInstanceOf(InputError);
    expect(reason.message).toBe(
      `which file of ${repo} is not clear: its GGUF files are a-q4.gguf, b-q8.gguf; name one, as in --hf ${repo}:a-q4.gguf`,
    );
    expect((await get(hub, `${repo}:b-q8.gguf`)).source).toMatch(/b-q8\.gguf$/);
    expect((await error(get(hub, `${repo}:c.gguf`))).message).toBe(
      `${repo} has no file c.gguf; its GGUF files are a-q4.gguf, b-q8.gguf`,
    );
  });

  it("a part of a model is refused", async () => {
    const hub = await fakeHub({ files });
    const { message } = await error(get(hub, `${repo}:big-00001-of-00002.gguf`));
    expect(message).toContain("is one part of a model; join its parts with llama-gguf-split --merge");
  });

  it("where there is none the error says so", async () => {
    const hub = await fakeHub({ files: new Map([["model.safetensors", bytes]]) });
    expect((await error(get(hub, repo))).message).toContain("it has no GGUF file that is a whole model");
  });

  it("names that would lie outside the cache are no files", async () => {
    const hub = await fakeHub({
      files: new Map([
        ["../../evil.gguf", bytes],
        ["model.gguf", bytes],
      ]),
    });
    expect((await get(hub, repo)).source).toMatch(/\/model\.gguf$/);
  });
});

describe("what the hub refuses", () => {
  it.each([
    [401, "RepoNotFound", null, `does not show ${repo} without a token (HTTP status 401)`],
    [401, "GatedRepo", null, "is gated (HTTP status 401); set HF_TOKEN to a token of an account that was let in at"],
    [401, "", token, `does not show ${repo} with this HF_TOKEN (HTTP status 401)`],
    [403, "GatedRepo", token, "is gated (HTTP status 403); HF_TOKEN must be of an account that was let in at"],
    [404, "RepoNotFound", null, `there is no repository ${repo}`],
    [404, "RevisionNotFound", null, `${repo} has no such revision`],
    [404, "", null, "check the name"],
  ])("HTTP %i %s", async (status, code, secret, words) => {
    const hub = await fakeHub({
      answer: () => ({ status, headers: { "x-error-code": code, "x-error-message": `token ${token}` } }),
    });
    const reason = await error(get(hub, repo, { token: secret }));
    expect(reason).toBeInstanceOf(RefusedError);
    expect(reason).toMatchObject({ status });
    expect(reason.message).toContain(words);
    expect(reason.message).not.toContain(token);
    expect(hub.requests).toHaveLength(1);
  });

  it("a repository whose list of files everybody sees, and whose files only those who were let in", async () => {
    const gated = { status: 403, headers: { "x-error-code": "GatedRepo" } };
    const hub = await fakeHub({ answer: ({ url }) => (url.includes("/resolve/") ? gated : undefined) });
    const { message } = await error(get(hub, repo));
    expect(message).toBe(
      `${repo} is gated (HTTP status 403); set HF_TOKEN to a token of an account that was let in at ${hub.endpoint}/${repo}`,
    );
    expect(hub.downloads()).toEqual([]);
  });

  it("a file of a commit that is not there", async () => {
    const hub = await fakeHub();
    const { message } = await error(get(hub, `${repo}@${commit}:absent.gguf`));
    expect(message).toContain(
      `does not have ${repo}@${commit}:absent.gguf (HTTP status 404): ${repo} has no such file`,
    );
  });

  it("other bytes than those that are wanted are not downloaded", async () => {
    const hub = await fakeHub();
    const reason = await error(get(hub, `${repo}@${commit}:model-q4.gguf`, { sha256: "1".repeat(64) }));
    expect(reason.message).toContain(
      `has SHA-256 ${sha256(bytes)} at ${hub.endpoint}, but ${"1".repeat(64)} is wanted`,
    );
    expect(hub.downloads()).toEqual([]);
  });

  it("something that is not the hub is said to be none", async () => {
    const hub = await fakeHub({ answer: () => ({ status: 200, body: "<html>" }) });
    expect((await error(get(hub, repo))).message).toContain("does not answer as the hub does");
  });

  it("a redirect without end, or to no address, ends", async () => {
    const hub = await fakeHub({ answer: ({ url }) => ({ status: 307, headers: { location: url } }) });
    expect((await error(get(hub, repo))).message).toContain("without end");
    hub.options.answer = () => ({ status: 302, headers: { location: "file:///etc/passwd" } });
    expect((await error(get(hub, repo))).message).toContain('to no address ("file:///etc/passwd")');
  });

  it("a repository that was renamed is followed, with the token", async () => {
    const hub = await fakeHub({
      token,
      answer: ({ url }) =>
        url.includes("old/name") ? { status: 307, headers: { location: url.replace("old/name", repo) } } : undefined,
    });
    expect((await get(hub, "old/name", { token })).sha256).toBe(sha256(bytes));
  });
});

describe("without a network", () => {
  const nowhere = "http://127.0.0.1:9";

  it("a copy of what the revision was is taken, and said to be", async () => {
    const first = await get(await fakeHub(), repo);
    expect(await get(nowhere, repo)).toEqual(first);
    expect(said.at(-1)).toMatch(/^the hub http:\/\/127.0.0.1:9 cannot be reached \(.*\); .*; taking the copy of hf:/);
    const busy = await fakeHub({ answer: () => ({ status: 503 }) });
    expect(await get(busy, repo)).toEqual(first);
  });

  it("and without a copy the error says what to do", async () => {
    const reason = await error(get(nowhere, `${repo}:model-q4.gguf`));
    expect(reason).toBeInstanceOf(UnreachableError);
    expect(reason.message).toMatch(
      /cannot be reached \(.*\); check the network and HF_ENDPOINT; there is no copy of someone\/model-GGUF@main:model-q4\.gguf in .*; download the file on another machine and give it with --model-file PATH$/,
    );
  });

  it("HF_HUB_OFFLINE asks nothing", async () => {
    const hub = await fakeHub();
    expect((await error(get(hub, repo, { isOffline: true }))).message).toMatch(
      /^HF_HUB_OFFLINE is set; there is no copy/,
    );
    expect(hub.requests).toEqual([]);
    const first = await get(hub, repo);
    const before = hub.requests.length;
    expect(await get(hub, repo, { isOffline: true })).toEqual(first);
    expect(hub.requests).toHaveLength(before);
  });

  it("of several copies one has to be named", async () => {
    const files = new Map(["a.gguf", "b.gguf"].map((name) => [name, Buffer.from(`GGUF ${name}`)]));
    const hub = await fakeHub({ files });
    for (const name of files.keys()) await get(hub, `${repo}:${name}`);
    expect((await error(get(hub, repo, { isOffline: true }))).message).toContain("name one: a.gguf, b.gguf");
    expect((await get(hub, `${repo}:b.gguf`, { isOffline: true })).source).toMatch(/b\.gguf$/);
  });

  it.each([["models"], [""]])(
    "a file of the right bytes that lies in the cache under its name is taken (%j)",
    async (folder) => {
      const path = join(cache, "..", folder, "model-q4.gguf");
      await mkdir(join(path, ".."), { recursive: true });
      await writeFile(path, bytes);
      const wanted = `${repo}@${commit}:model-q4.gguf`;
      expect(await get(nowhere, wanted, { sha256: sha256(bytes) })).toEqual({
        path,
        source: `hf://${repo}@${commit}/model-q4.gguf`,
        sha256: sha256(bytes),
      });
      await writeFile(path, "GGUF of another kind");
      await expect(get(nowhere, wanted, { sha256: sha256(bytes) })).rejects.toThrow("there is no copy");
      expect(said.join()).toContain("it is not used");
    },
  );

  it("a damaged list of revisions is as none", async () => {
    const first = await get(await fakeHub(), repo);
    await writeFile(join(cache, "someone--model-GGUF", "revisions.json"), '[{"revision":"main"');
    await expect(get(nowhere, repo)).rejects.toThrow("there is no copy");
    expect(await get(await fakeHub(), repo)).toEqual(first);
  });
});

describe("the hub's variables", () => {
  it("are those of its own programs", () => {
    expect(hubSettings({})).toEqual({ endpoint: "https://huggingface.co", token: null, isOffline: false });
    const set = { HF_ENDPOINT: " https://mirror.org/hf/ ", HF_TOKEN: " abc\n", HF_HUB_OFFLINE: "1" };
    expect(hubSettings(set)).toEqual({ endpoint: "https://mirror.org/hf", token: "abc", isOffline: true });
    for (const [text, isOffline] of [
      ["true", true],
      ["YES", true],
      ["on", true],
      ["0", false],
      ["", false],
    ] as const)
      expect(hubSettings({ HF_HUB_OFFLINE: text }).isOffline).toBe(isOffline);
  });

  it.each(["huggingface.co", "file:///tmp", "https://", "https://user:secret@host"])(
    "HF_ENDPOINT %s is refused",
    async (endpoint) => {
      const { message } = await error(get(endpoint, repo));
      expect(message).toMatch(/^HF_ENDPOINT /);
      expect(message).not.toContain("secret");
    },
  );

  it("HF_TOKEN that no header can hold is refused without being shown", async () => {
    const { message } = await error(get(await fakeHub(), repo, { token: `${token}\nx` }));
    expect(message).toMatch(/^HF_TOKEN holds characters/);
    expect(message).not.toContain(token);
  });
});
