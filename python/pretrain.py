"""Pretrains malt-tiny from scratch on a CPU and writes it as safetensors and GGUF.

Reads .cache/tiny/corpus.jsonl (see scripts/tiny/corpus.ts) once, in its order: one {"prompt": messages, "completion":
text} per line. Whole dialogues share rows of one length but do not see each other; the loss is mostly on the completions.
A run that was stopped goes on from its last checkpoint. What it leaves out: other models, and other schedules than one
pass over the corpus.
"""

import argparse
import hashlib
import json
import math
import os
import shutil
import signal
import sys
import time
from pathlib import Path

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
THREADS = min(2, CORES)
os.environ.setdefault("OMP_NUM_THREADS", str(THREADS))
# Two spinning threads starve each other as soon as anything else runs on the machine.
os.environ.setdefault("GOMP_SPINCOUNT", "2000")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import gguf
import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

SPECIAL = ["<|end|>", "<|user|>", "<|assistant|>", "<|system|>", "<|pad|>"]
CHAT_TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
CONTEXT = 1024
# Tokens per training row: short ones for one to four dialogues, long ones for debates. Attention costs more in long ones.
ROWS = (256, 512)
STEP = 2048
# Prompts are mostly random, but copying numbers from question to solution is learned from them too.
PROMPT_WEIGHT = 0.2


def train_tokenizer(texts, vocab_size: int) -> PreTrainedTokenizerFast:
    """Byte-level BPE whose numbers are single digits: the scheme llama.cpp knows as "smollm"."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|end|>", pad_token="<|pad|>", model_max_length=CONTEXT
    )
    fast.chat_template = CHAT_TEMPLATE
    return fast


def encode(lines, tokenizer):
    """Per dialogue its token ids and how many of them are the prompt."""
    encode_batch = tokenizer.backend_tokenizer.encode_batch
    for start in range(0, len(lines), 20000):
        block = [json.loads(line) for line in lines[start : start + 20000]]
        prompts = ["".join(f"<|{m['role']}|>{m['content']}<|end|>" for m in r["prompt"]) + "<|assistant|>" for r in block]
        completions = [r["completion"] + "<|end|>" for r in block]
        for prompt, completion in zip(encode_batch(prompts), encode_batch(completions)):
            yield prompt.ids + completion.ids, len(prompt.ids)


def pack(dialogues):
    """
    Puts whole dialogues into rows, each where it fits best, and yields batches in the order in which they fill up: ids
    [rows, width], positions within the dialogue (0 starts one; padding is all zeros) and weights as targets. The few rows
    that are not full at the end are left out.
    """
    waiting, full = [], {width: [] for width in ROWS}

    def batch(rows):
        shape = (len(rows), rows[0]["width"])
        ids, positions = np.zeros(shape, np.int16), np.zeros(shape, np.int16)
        weights = np.zeros(shape, np.float32)
        for i, row in enumerate(rows):
            at = 0
            for tokens, prompt in row["dialogues"]:
                own = slice(at, at := at + len(tokens))
                ids[i, own] = tokens
                positions[i, own] = np.arange(len(tokens))
                weights[i, own] = np.where(np.arange(len(tokens)) < prompt, PROMPT_WEIGHT, 1.0)
                weights[i, own.start] = 0  # nothing predicts the first token
        return ids, positions, weights

    for tokens, prompt in dialogues:
        row = min((r for r in waiting if r["room"] >= len(tokens)), key=lambda r: r["room"], default=None)
        if row is None:
            width = next(w for w in ROWS if len(tokens) <= w)
            waiting.append(row := {"width": width, "room": width, "dialogues": []})
        row["dialogues"].append((tokens, prompt))
        row["room"] -= len(tokens)
        # A row is closed when hardly any dialogue fits, and the fullest one when many wait.
        closed = row if row["room"] < 24 else min(waiting, key=lambda r: r["room"]) if len(waiting) > 64 else None
        if closed:
            waiting.remove(closed)
            rows = full[closed["width"]]
            rows.append(closed)
            if len(rows) * closed["width"] == STEP:
                full[closed["width"]] = []
                yield batch(rows)


def logits_of(model, ids, positions):
    """Logits [rows, width, vocabulary] of packed rows, in which a token sees its own dialogue alone."""
    dialogue = (positions == 0).cumsum(1)
    seen = (dialogue[:, None, :, None] == dialogue[:, None, None, :]).tril()
    mask = torch.where(seen, 0.0, -1e9)
    return model(input_ids=ids, position_ids=positions, attention_mask=mask, use_cache=False).logits


def train(model, batches, args, checkpoint: Path, identity: str) -> None:
    def weighted_loss(ids, positions, weights):
        with torch.autocast("cpu", torch.bfloat16):
            logits = logits_of(model, ids, positions)
        targets, w = ids[:, 1:].flatten(), weights[:, 1:].flatten()
        loss = torch.nn.functional.cross_entropy(logits[:, :-1].float().flatten(0, 1), targets, reduction="none")
        own = w == 1
        return (loss * w).sum() / w.sum(), (loss.detach() * own).sum() / own.sum()

    step_loss = torch.compile(weighted_loss, dynamic=False) if args.compile else weighted_loss
    decay = [p for p in model.parameters() if p.dim() >= 2]
    rest = [p for p in model.parameters() if p.dim() < 2]
    optimizer = torch.optim.AdamW(
        [{"params": decay, "weight_decay": 0.1}, {"params": rest, "weight_decay": 0.0}],
        lr=args.learning_rate,
        betas=(0.9, 0.97),
        fused=True,
    )
    step, average, before = 0, None, 0.0
    if checkpoint.exists():
        state = torch.load(checkpoint)
        if state["identity"] == identity:
            model.load_state_dict(state["model"])
            optimizer.load_state_dict(state["optimizer"])
            step, average, before = state["step"], state["average"], state["seconds"]
            print(f"going on from step {step} of {len(batches)}", flush=True)
        else:
            print("the checkpoint is of another corpus or other settings: starting from the beginning", flush=True)

    def save(seconds):
        state = {"identity": identity, "step": step, "average": average, "seconds": seconds}
        part = checkpoint.with_suffix(".part")
        torch.save({**state, "model": model.state_dict(), "optimizer": optimizer.state_dict()}, part)
        part.replace(checkpoint)

    stopped = []
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, lambda number, frame: stopped.append(number))
    start = printed = saved = time.time()
    first = step
    model.train()
    while step < len(batches):
        share = step / len(batches)
        rate = args.learning_rate * min(1.0, (step + 1) / 100) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * share)))
        for group in optimizer.param_groups:
            group["lr"] = rate
        ids, positions, weights = (torch.from_numpy(array) for array in batches[step])
        loss, completion_loss = step_loss(ids.long(), positions.long(), weights)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        step += 1
        average = completion_loss.item() if average is None else 0.98 * average + 0.02 * completion_loss.item()
        now = time.time()
        if now - printed > 10:
            printed = now
            speed = (step - first) / (now - start)
            print(
                f"step {step} of {len(batches)}  {step * STEP / 1e6:.1f}M tokens  {speed * STEP:.0f} tokens/s  "
                f"completion loss {average:.4f}  {(len(batches) - step) / speed / 60:.1f} min left",
                flush=True,
            )
        if stopped or now - saved > 300:
            saved = now
            save(before + now - start)
        if stopped:
            print(f"stopped at step {step}; run the same command again to go on", flush=True)
            sys.exit(128 + stopped[0])
    seconds = before + time.time() - start
    save(seconds)
    print(
        f"trained {step} steps on {step * STEP / 1e6:.1f}M tokens in {seconds / 60:.1f} min, "
        f"completion loss {average:.4f}"
    )


def write_gguf(model, tokenizer, path: Path, name: str) -> None:
    """
    llama.cpp's llama architecture. Its rotary embedding pairs neighbours, so the rows of q and k are reordered. The same
    values as in safetensors, but as float32: on a CPU llama.cpp answers twice as fast with them as with float16.
    """
    config = model.config
    heads, head_dim = config.num_attention_heads, config.hidden_size // config.num_attention_heads
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_name(name)
    writer.add_license("mit")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_dimension_count(head_dim)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_vocab_size(config.vocab_size)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    state = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    tokens = sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().get)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types(
        [gguf.TokenType.CONTROL if t in SPECIAL else gguf.TokenType.NORMAL for t in tokens]
    )
    writer.add_token_merges([" ".join(m) if isinstance(m, list) else m for m in state["merges"]])
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_pad_token_id(tokenizer.pad_token_id)
    writer.add_add_bos_token(False)
    writer.add_chat_template(CHAT_TEMPLATE)

    def rotary(weight):
        return weight.reshape(heads, 2, head_dim // 2, -1).swapaxes(1, 2).reshape(weight.shape)

    names = {
        "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
        "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
    }
    for key, tensor in model.state_dict().items():
        weight = tensor.float().numpy()
        if key == "lm_head.weight":
            continue  # tied to the embedding
        if key == "model.embed_tokens.weight":
            target = "token_embd"
        elif key == "model.norm.weight":
            target = "output_norm"
        else:
            _, _, block, part = key.removesuffix(".weight").split(".", 3)
            target = f"blk.{block}.{names[part]}"
            if part in ("self_attn.q_proj", "self_attn.k_proj"):
                weight = rotary(weight)
        writer.add_tensor(f"{target}.weight", weight)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", default=".cache/tiny/corpus.jsonl")
    parser.add_argument("--out", default="data/malt-tiny")
    parser.add_argument("--vocabulary", type=int, default=768)
    parser.add_argument("--width", type=int, default=192)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--compile",
        action=argparse.BooleanOptionalAction,
        default=any(map(shutil.which, ("c++", "g++", "clang++"))),
        help="torch.compile: twice as fast; by default where there is a C++ compiler",
    )
    args = parser.parse_args()

    torch.set_num_threads(THREADS)
    torch.manual_seed(args.seed)
    print(f"reading {args.corpus}", flush=True)
    corpus = Path(args.corpus).read_bytes()
    settings = [args.vocabulary, args.width, args.layers, args.learning_rate, args.seed]
    identity = hashlib.sha256(corpus + json.dumps(settings).encode()).hexdigest()
    lines = corpus.splitlines()
    some = [json.loads(line) for line in lines[:: max(1, len(lines) // 20000)]]
    tokenizer = train_tokenizer([r["completion"] + "\n" + r["prompt"][-1]["content"] for r in some], args.vocabulary)
    batches = list(pack(encode(lines, tokenizer)))
    filled = np.mean([(positions > 0).mean() for _, positions, _ in batches])
    print(
        f"{len(lines)} dialogues, {len(batches)} steps of {STEP} tokens, {1 - filled:.1%} of them padding, "
        f"vocabulary {len(tokenizer)}"
    )
    del corpus, lines, some

    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=args.width, intermediate_size=args.width * 8 // 3 // 32 * 32,
        num_hidden_layers=args.layers, num_attention_heads=args.width // 32, num_key_value_heads=args.width // 32,
        max_position_embeddings=CONTEXT, tie_word_embeddings=True, rms_norm_eps=1e-5,
        bos_token_id=None, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )
    # On sequences this short the fused kernel's backward pass costs more than all matrix products together.
    config._attn_implementation = "eager"
    model = LlamaForCausalLM(config)
    print(f"{model.num_parameters() / 1e6:.2f}M parameters", flush=True)
    train(model, batches, args, Path(args.corpus).with_name("checkpoint.pt"), identity)

    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    # The GGUF file holds the rounded values too, so that both files are the same model.
    model.half().save_pretrained(out)
    write_gguf(model, tokenizer, out / "malt-tiny.gguf", "malt-tiny")
    tokenizer.save_pretrained(out)
    # The name of the class that every version of transformers knows.
    about = out / "tokenizer_config.json"
    named = {**json.loads(about.read_text()), "tokenizer_class": "PreTrainedTokenizerFast"}
    named.pop("backend", None)
    about.write_text(json.dumps(named, indent=2) + "\n")
    for file in sorted(out.iterdir()):
        print(f"{file.stat().st_size / 1e6:7.2f} MB  {file}")


if __name__ == "__main__":
    main()
