// The servers that the script can start, and what each needs: one command for the model alone or with its adapters, and
// the flags with which malt asks it. What it leaves out: starting and stopping (run.mjs).
import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { basename, join, resolve } from "node:path";

/**
 * What of a model's folder describes the model, and is shared by its adapters. The weights are all other files.
 */
const isWeights = (file) => /\.(safetensors|bin|pt|pth|gguf|index\.json)$/.test(file);

/**
 * Lays out models as the Hugging Face hub's cache does, which is where `transformers serve` looks names up, and what it
 * lists at /v1/models. An adapter is a model of its own there: the base model's configuration and tokenizer, and PEFT's
 * files with the path of the base model.
 * @param hub a folder that does not exist
 * @param model { name, folder }
 * @param adapters a list of the same
 */
export function layOutHub(hub, model, adapters) {
  const snapshot = ({ name }) => {
    const repository = join(hub, `models--${name}`);
    mkdirSync(join(repository, "refs"), { recursive: true });
    writeFileSync(join(repository, "refs", "main"), "local");
    const folder = join(repository, "snapshots", "local");
    mkdirSync(folder, { recursive: true });
    return folder;
  };
  const link = (from, to, isWanted) => {
    for (const file of readdirSync(from)) if (isWanted(file)) symlinkSync(resolve(from, file), join(to, file));
  };
  link(model.folder, snapshot(model), (file) => !file.endsWith(".gguf"));
  for (const adapter of adapters) {
    const folder = snapshot(adapter);
    link(model.folder, folder, (file) => !isWeights(file) && !file.startsWith("adapter_"));
    link(adapter.folder, folder, (file) => file === "adapter_model.safetensors");
    const config = JSON.parse(readFileSync(join(adapter.folder, "adapter_config.json"), "utf8"));
    const here = { ...config, base_model_name_or_path: resolve(model.folder) };
    writeFileSync(join(folder, "adapter_config.json"), JSON.stringify(here));
  }
}

/**
 * `transformers serve` takes sampling parameters beyond OpenAI's as JSON text, and refuses other fields. Where that is
 * given, its continuous batching looks for the end of a text nowhere else.
 */
function sampling({ folder }) {
  const read = (file) => (existsSync(join(folder, file)) ? JSON.parse(readFileSync(join(folder, file), "utf8")) : {});
  const eos_token_id = read("generation_config.json").eos_token_id ?? read("config.json").eos_token_id;
  const text = JSON.stringify({ do_sample: true, top_k: 0, typical_p: 1, eos_token_id });
  return ["--extra-body", JSON.stringify({ generation_config: text })];
}

/**
 * In the order of preference.
 * - `modules`: what Python must be able to import.
 * - `start`: for a model { name, folder }, adapters, device, port, an empty folder, and whether to batch: program arguments of Python, and
 *   changes to the environment. null: malt starts it itself.
 * - `sample`, `evaluate`: flags of these commands beside the model's address and name, from the same.
 */
export const servers = {
  vllm: {
    modules: ["vllm"],
    start: ({ model, adapters, port }) => {
      const ranks = adapters.map(
        ({ folder }) => JSON.parse(readFileSync(join(folder, "adapter_config.json"), "utf8")).r,
      );
      const lora = ["--enable-lora", "--max-lora-rank", Math.max(...ranks), "--max-loras", adapters.length];
      const modules = ["--lora-modules", ...adapters.map(({ name, folder }) => `${name}=${resolve(folder)}`)];
      return {
        // Without compilation it is ready within seconds; a long run would leave that flag out.
        args: ["-m", "vllm.entrypoints.cli.main", "serve", resolve(model.folder), "--served-model-name", model.name]
          .concat(["--host", "127.0.0.1", "--port", port, "--enforce-eager"])
          .concat(adapters.length > 0 ? [...lora, ...modules] : [])
          .map(String),
        env: { HF_HUB_OFFLINE: "1" },
      };
    },
    sample: () => [],
    evaluate: () => [],
  },
  transformers: {
    modules: ["transformers", "fastapi", "uvicorn", "openai"],
    start: ({ model, adapters, device, port, folder, batching }) => {
      const hub = join(folder, "hub");
      layOutHub(hub, model, adapters);
      const where = device === "gpu" ? ["--device", "cuda"] : ["--device", "cpu", "--dtype", "float32"];
      return {
        args: ["-m", "transformers.cli.transformers", "serve", "--host", "127.0.0.1", "--port", `${port}`, ...where]
          // No model is unloaded while another one is asked.
          .concat(["--model-timeout", "-1"])
          .concat(batching && adapters.length === 0 ? ["--continuous-batching"] : []),
        env: { HF_HUB_OFFLINE: "1", HF_HOME: folder, HF_HUB_CACHE: hub },
      };
    },
    // It ignores n. Without batching it answers one request of a model after another, and a request's seed counts only if
    // no other one comes in between.
    sample: ({ model, batching }) =>
      ["--request", "single", "--concurrency", batching ? "32" : "1"].concat(sampling(model)),
    evaluate: () => ["--request", "single", "--concurrency", "1"],
  },
  embedded: { modules: ["xllamacpp"], start: null, sample: () => [], evaluate: () => [] },
};

/** The name that a model's folder is served under: its own name, without what a model's name cannot hold. */
export const servedAs = (folder) => basename(resolve(folder)).replace(/[^\w.]+/g, "-");
