"""Makes a folder that transformers can train from a GGUF file: the very weights that the embedded server serves, dequantised.

Usage: `python trainable.py MODEL.gguf FOLDER`. Scope: weights, tokenizer and chat template, once; and a check that they are
what llama.cpp makes of the file. Both render a few dialogues, tokenize them and go on greedily: prompts and their tokens must
be equal, log-probabilities nearly so, and a reply must end with a token at which the server ends. Whatever differs is said,
and nothing is written.

It leaves out architectures whose adapters python/adapter.py cannot write for llama.cpp.
"""

import json
import os
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

ARCHITECTURES = ("llama", "qwen2")
# llama.cpp rounds activations to 8 bits where the weights are quantised, so its log-probabilities differ a little: by 0.03
# nats on average with a Q4 file of 135M parameters, by 0.012 with one of 1.5B. Weights in the wrong place differ by whole nats.
MEAN_DIFFERENCE = 0.1
DIALOGUES = [
    [{"role": "user", "content": "Tom has 3 pens and buys 4 more. How many pens has he?"}],
    [
        {"role": "system", "content": "You are a careful teacher of mathematics."},
        {"role": "user", "content": "What is 12 × 11? Answer with the number alone.\n\nLine two  has   spaces."},
    ],
    [
        {"role": "system", "content": "You check solutions."},
        {"role": "user", "content": "Is 7 a prime number?"},
        {"role": "assistant", "content": "Yes, it is."},
        {"role": "user", "content": "And 9? Why?"},
    ],
]
NEW_TOKENS = 24


class Differs(Exception):
    """How the folder is not what the server serves."""


def metadata(source: Path) -> dict:
    import gguf

    reader = gguf.GGUFReader(source)
    names = ("general.architecture", "tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id", "tokenizer.chat_template")
    fields = {name: reader.get_field(name) for name in names}
    return {name: field.contents() for name, field in fields.items() if field}


def convert(source: Path, folder: Path, about: dict) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    loaded = AutoModelForCausalLM.from_pretrained(source.parent, gguf_file=source.name, dtype=torch.float32)
    # A model that came from a GGUF file counts as quantized and cannot be saved, so its tensors are given to a new model,
    # which has none of its own: there is memory for one of them.
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(loaded.config, dtype=torch.float32)
    model.load_state_dict(loaded.state_dict(), assign=True)
    model.tie_weights()
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    tokenizer = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)
    tokenizer.chat_template = about["tokenizer.chat_template"]
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


class Server:
    """The embedded server with the file, and with an adapter if one is given, asked on its own pages."""

    def __init__(self, source: Path, adapter: Path | None = None):
        program = Path(__file__).with_name("serve.py")
        args = [sys.executable, program, "--model", source, "--alias", "check", "--parallel", "1", "--context", "1024"]
        args += ["--lora", adapter] if adapter else []
        self.process = subprocess.Popen(args, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        lines = (line for line in self.process.stdout if line.startswith(b"{"))
        said = json.loads(next(lines, b'{"error": "it ended without a word"}'))
        if "error" in said:
            raise Differs(f"the embedded server does not start with the file: {said['error']}")
        self.url = said["url"]
        self.open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open

    def ask(self, page: str, **body) -> dict:
        headers = {"content-type": "application/json"}
        request = urllib.request.Request(f"{self.url}/{page}", json.dumps(body).encode(), headers)
        with self.open(request, timeout=600) as answer:
            return json.load(answer)

    def stop(self) -> None:
        self.process.stdin.close()
        self.process.wait(10)


def reported(reply: list[int], probabilities: list[dict]):
    """Places in the reply with their log-probabilities; llama.cpp has none of a token that ends within a character."""
    rest = iter(probabilities)
    token = next(rest, None)
    for i, id in enumerate(reply):
        if token and token["id"] == id:
            yield i, token["logprob"]
            token = next(rest, None)


def compare(server: Server, folder: Path, about: dict) -> dict:
    """@raises Differs with the first difference; @returns what was measured"""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    differences = []
    for dialogue in DIALOGUES:
        asked = json.dumps(dialogue[-1]["content"])
        served = server.ask("apply-template", messages=dialogue)["prompt"]
        prompt = tokenizer.apply_chat_template(dialogue, add_generation_prompt=True, tokenize=False)
        if prompt != served:
            raise Differs(f"the chat template gives {prompt!r} in training and {served!r} in the server, asked {asked}")
        ids = tokenizer.apply_chat_template(dialogue, add_generation_prompt=True, tokenize=True, return_dict=False)
        tokens = server.ask("tokenize", content=served, add_special=True, parse_special=True)["tokens"]
        if ids != tokens:
            at = next((i for i, (a, b) in enumerate(zip(ids, tokens)) if a != b), min(len(ids), len(tokens)))
            raise Differs(f"token {at} is {ids[at : at + 3]} in training and {tokens[at : at + 3]} in the server, asked {asked}")
        greedy = {"temperature": 0, "top_k": 1, "n_predict": NEW_TOKENS, "n_probs": 1, "cache_prompt": False, "return_tokens": True}
        said = server.ask("completion", prompt=ids, **greedy)
        reply = said["tokens"]
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([ids + reply])).logits[0, len(ids) - 1 : -1].float()
        own = torch.log_softmax(logits, -1)[range(len(reply)), reply].tolist()
        differences += [abs(own[i] - logprob) for i, logprob in reported(reply, said["completion_probabilities"])]
    mean = sum(differences) / max(1, len(differences))
    if not differences or not mean <= MEAN_DIFFERENCE:
        raise Differs(
            f"the log-probabilities of {len(differences)} greedy tokens differ by {mean:.2f} nats on average "
            f"({max(differences, default=0):.2f} at most), more than {MEAN_DIFFERENCE}"
        )
    question = DIALOGUES[0]
    ask = tokenizer.apply_chat_template(question, add_generation_prompt=True, tokenize=False)
    whole = tokenizer.apply_chat_template([*question, {"role": "assistant", "content": "7."}], tokenize=False)
    end = tokenizer(whole.removeprefix(ask).removeprefix("7."), add_special_tokens=False)["input_ids"][:1]
    ends = [about[name] for name in ("tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id") if name in about]
    if not whole.startswith(f"{ask}7.") or not end or end[0] not in ends:
        named = tokenizer.convert_ids_to_tokens([*end, *ends])
        raise Differs(f"a reply in training ends with {named[: len(end)]}, and the server ends at {named[len(end) :]}")
    return {"tokens": len(differences), "mean_difference": mean, "largest_difference": max(differences)}


def make(source: Path, target: Path) -> dict:
    """
    Writes `target` under another name and renames it, so that an existing folder is always complete and checked.
    @raises Differs if it would not be what is served
    """
    about = metadata(source)
    architecture = about.get("general.architecture")
    if architecture not in ARCHITECTURES:
        raise Differs(f"its architecture is {architecture}, and only {' and '.join(ARCHITECTURES)} can be trained from a GGUF file")
    if not about.get("tokenizer.chat_template"):
        raise Differs("it holds no chat template, without which a prompt cannot be written as the server writes it")
    draft = target.with_name(f"{target.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    try:
        convert(source, draft, about)
        server = Server(source)
        try:
            measured = compare(server, draft, about)
        finally:
            server.stop()
        (draft / "check.json").write_text(json.dumps(measured) + "\n")
        draft.rename(target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return measured


if __name__ == "__main__":
    os.environ.setdefault("GOMP_SPINCOUNT", "2000")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    source, target = (Path(word).resolve() for word in sys.argv[1:3])
    try:
        print(json.dumps(make(source, target)))
    except Differs as error:
        sys.exit(f"{source.name} cannot be trained: {error}")
