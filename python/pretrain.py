"""Pretrains malt-tiny from scratch on a CPU and writes it as safetensors and GGUF.

Reads .cache/tiny/corpus.jsonl (see scripts/tiny/corpus.ts): one {"prompt": messages, "completion": text} per line.
Dialogues are packed into rows of one length; the loss is mostly on the completions.
"""

import argparse
import json
import math
import os
import random
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", str(min(2, os.cpu_count() or 1)))
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
# Tokens per training row; about two dialogues.
ROW = 256
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


def encode(rows, tokenizer, generator: random.Random):
    """Shuffles the dialogues and joins them to one long text: token ids, and the weight of each as a target."""
    generator.shuffle(rows)
    encode_batch = tokenizer.backend_tokenizer.encode_batch
    ids, weights = [], []
    for start in range(0, len(rows), 20000):
        block = rows[start : start + 20000]
        prompts = ["".join(f"<|{m['role']}|>{m['content']}<|end|>" for m in r["prompt"]) + "<|assistant|>" for r in block]
        completions = [r["completion"] + "<|end|>" for r in block]
        for prompt, completion in zip(encode_batch(prompts), encode_batch(completions)):
            ids.append(np.array(prompt.ids + completion.ids, dtype=np.int16))
            weights.append(np.repeat([PROMPT_WEIGHT, 1.0], [len(prompt.ids), len(completion.ids)]).astype(np.float16))
    return np.concatenate(ids), np.concatenate(weights)


def batches(ids, weights, rows: int, generator: random.Random):
    """Endless batches [rows, ROW] of consecutive tokens from random places: every batch has the same shape."""
    while True:
        starts = list(range(0, len(ids) - ROW - 1, ROW))
        generator.shuffle(starts)
        for i in range(0, len(starts) - rows, rows):
            group = starts[i : i + rows]
            x = np.stack([ids[j : j + ROW + 1] for j in group]).astype(np.int64)
            w = np.stack([weights[j + 1 : j + ROW + 1] for j in group]).astype(np.float32)
            yield torch.from_numpy(x), torch.from_numpy(w)


def train(model, stream, args, save) -> None:
    def weighted_loss(x, w):
        with torch.autocast("cpu", torch.bfloat16):
            logits = model(input_ids=x[:, :-1], use_cache=False).logits
        loss = torch.nn.functional.cross_entropy(logits.float().flatten(0, 1), x[:, 1:].flatten(), reduction="none")
        own = w.flatten() == 1
        return (loss * w.flatten()).sum() / w.sum(), (loss.detach() * own).sum() / own.sum()

    step_loss = torch.compile(weighted_loss) if args.compile else weighted_loss
    decay = [p for p in model.parameters() if p.dim() >= 2]
    rest = [p for p in model.parameters() if p.dim() < 2]
    optimizer = torch.optim.AdamW(
        [{"params": decay, "weight_decay": 0.1}, {"params": rest, "weight_decay": 0.0}],
        lr=args.learning_rate,
        betas=(0.9, 0.97),
        fused=True,
    )
    start, seen, average, step, printed, saved = time.time(), 0, None, 0, 0.0, 0.0
    model.train()
    while True:
        elapsed = time.time() - start
        share = step / args.steps if args.steps else elapsed / (60 * args.minutes)
        if share >= 1:
            break
        warm = min(1.0, (step + 1) / 100)
        rate = args.learning_rate * warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * share)))
        for group in optimizer.param_groups:
            group["lr"] = rate
        x, w = next(stream)
        loss, completion_loss = step_loss(x, w)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        step += 1
        seen += w.numel()
        average = completion_loss.item() if average is None else 0.98 * average + 0.02 * completion_loss.item()
        if elapsed - printed > 10:
            printed = elapsed
            left = elapsed / max(share, 1e-9) - elapsed
            print(
                f"step {step}  {seen / 1e6:.1f}M tokens  {seen / elapsed:.0f} tokens/s  "
                f"completion loss {average:.4f}  {left / 60:.1f} min left",
                flush=True,
            )
        if elapsed - saved > 60 * args.save_every:
            saved = elapsed
            save()
    minutes = (time.time() - start) / 60
    print(f"trained {step} steps on {seen / 1e6:.2f}M tokens in {minutes:.1f} min, completion loss {average:.4f}")


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
    parser.add_argument("--start", help="go on from the model in this folder instead of from scratch")
    parser.add_argument("--minutes", type=float, default=45, help="training time; the learning rate follows it")
    parser.add_argument("--steps", type=int, default=0, help="stop after this many steps instead, whatever the time")
    parser.add_argument("--vocabulary", type=int, default=512)
    parser.add_argument("--width", type=int, default=192)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--rows", type=int, default=8, help="rows of 256 tokens per step")
    parser.add_argument("--save-every", type=float, default=10, help="minutes between snapshots in --out")
    parser.add_argument("--compile", action="store_true", help="torch.compile: twice as fast, needs a C++ compiler")
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    torch.set_num_threads(min(2, os.cpu_count() or 1))
    torch.manual_seed(args.seed)
    print(f"reading {args.corpus}", flush=True)
    with open(args.corpus) as file:
        rows = [json.loads(line) for line in file]
    texts = [r["completion"] + "\n" + r["prompt"][-1]["content"] for r in rows[:20000]]
    if args.start:
        tokenizer = PreTrainedTokenizerFast.from_pretrained(args.start)
    else:
        tokenizer = train_tokenizer(texts, args.vocabulary)
    generator = random.Random(args.seed)
    count = len(rows)
    ids, weights = encode(rows, tokenizer, generator)
    del rows, texts
    print(f"{count} dialogues, {len(ids) / 1e6:.1f}M tokens, vocabulary {len(tokenizer)}")

    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=args.width, intermediate_size=args.width * 8 // 3 // 32 * 32,
        num_hidden_layers=args.layers, num_attention_heads=args.width // 32, num_key_value_heads=args.width // 32,
        max_position_embeddings=CONTEXT, tie_word_embeddings=True, rms_norm_eps=1e-5,
        bos_token_id=None, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )
    # On sequences this short the fused kernel's backward pass costs more than all matrix products together.
    config._attn_implementation = "eager"
    model = LlamaForCausalLM(config)
    if args.start:
        model.load_state_dict(LlamaForCausalLM.from_pretrained(args.start, dtype=torch.float32).state_dict())
    print(f"{model.num_parameters() / 1e6:.2f}M parameters", flush=True)
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)

    def save() -> None:
        copy = LlamaForCausalLM(config)
        copy.load_state_dict(model.state_dict())
        copy.half().save_pretrained(out)
        write_gguf(copy, tokenizer, out / "malt-tiny.gguf", "malt-tiny")
        tokenizer.save_pretrained(out)

    train(model, batches(ids, weights, args.rows, generator), args, save)
    save()
    for file in sorted(out.iterdir()):
        print(f"{file.stat().st_size / 1e6:7.2f} MB  {file}")


if __name__ == "__main__":
    main()
