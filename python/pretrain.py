"""Pretrains malt-tiny from scratch on a CPU and writes it as safetensors and GGUF.

Reads .cache/tiny/corpus.jsonl (see scripts/tiny/corpus.ts): one {"prompt": messages, "completion": text} per line.
The loss is on the completion only: the prompts are random questions, which hold nothing to learn by heart.
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


def encode(rows, tokenizer):
    """[(token ids, number of prompt tokens)]"""
    prompts = ["".join(f"<|{m['role']}|>{m['content']}<|end|>" for m in r["prompt"]) + "<|assistant|>" for r in rows]
    completions = [r["completion"] + "<|end|>" for r in rows]
    encode_batch = tokenizer.backend_tokenizer.encode_batch
    p = encode_batch(prompts, add_special_tokens=False)
    c = encode_batch(completions, add_special_tokens=False)
    return [(np.array(a.ids + b.ids, dtype=np.int16), len(a.ids)) for a, b in zip(p, c)]


def batches(data, tokens_per_batch: int, generator: random.Random):
    """Endless batches of similar lengths, so that little is padded."""
    while True:
        order = list(range(len(data)))
        generator.shuffle(order)
        for start in range(0, len(order), 4096):
            block = sorted(order[start : start + 4096], key=lambda i: len(data[i][0]))
            groups, group = [], []
            for i in block:
                if (len(group) + 1) * len(data[i][0]) > tokens_per_batch:
                    groups.append(group)
                    group = []
                group.append(i)
            generator.shuffle(groups)
            yield from groups


def collate(data, group, pad: int):
    width = max(len(data[i][0]) for i in group)
    ids = np.full((len(group), width), pad, dtype=np.int64)
    labels = np.full((len(group), width), -100, dtype=np.int64)
    for row, i in enumerate(group):
        tokens, prompt = data[i]
        ids[row, : len(tokens)] = tokens
        labels[row, prompt : len(tokens)] = tokens[prompt:]
    return torch.from_numpy(ids), torch.from_numpy(labels)


def completion_loss(model, ids, labels):
    """Mean cross-entropy of the completion tokens. Logits are made for those positions only: most are prompt."""
    hidden = model.model(input_ids=ids).last_hidden_state[:, :-1]
    targets = labels[:, 1:]
    keep = targets != -100
    return torch.nn.functional.cross_entropy(model.lm_head(hidden[keep]).float(), targets[keep])


def train(model, data, pad: int, args) -> None:
    decay = [p for p in model.parameters() if p.dim() >= 2]
    rest = [p for p in model.parameters() if p.dim() < 2]
    optimizer = torch.optim.AdamW(
        [{"params": decay, "weight_decay": 0.1}, {"params": rest, "weight_decay": 0.0}],
        lr=args.learning_rate,
        betas=(0.9, 0.97),
    )
    stream = batches(data, args.batch_tokens, random.Random(args.seed))
    start, seen, average, step, printed = time.time(), 0, None, 0, 0.0
    model.train()
    while True:
        elapsed = time.time() - start
        share = max(elapsed / (60 * args.minutes), step / args.steps if args.steps else 0)
        if share >= 1:
            break
        warm = min(1.0, (step + 1) / 100)
        rate = args.learning_rate * warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * share)))
        for group in optimizer.param_groups:
            group["lr"] = rate
        ids, labels = collate(data, next(stream), pad)
        with torch.autocast("cpu", torch.bfloat16):
            loss = completion_loss(model, ids, labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        step += 1
        seen += ids.numel()
        average = loss.item() if average is None else 0.98 * average + 0.02 * loss.item()
        if elapsed - printed > 10:
            printed = elapsed
            print(
                f"step {step}  {seen / 1e6:.1f}M tokens  {seen / elapsed:.0f} tokens/s  loss {average:.4f}  "
                f"{elapsed / 60:.1f} of {args.minutes:g} min",
                flush=True,
            )
    print(f"trained {step} steps on {seen / 1e6:.2f}M tokens in {(time.time() - start) / 60:.1f} min, loss {average:.4f}")


def write_gguf(model, tokenizer, path: Path, name: str) -> None:
    """llama.cpp's llama architecture. Its rotary embedding pairs neighbours, so the rows of q and k are reordered."""
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
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
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
        writer.add_tensor(f"{target}.weight", weight if weight.ndim == 1 else weight.astype(np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", default=".cache/tiny/corpus.jsonl")
    parser.add_argument("--out", default="data/malt-tiny")
    parser.add_argument("--minutes", type=float, default=45, help="training time; the learning rate follows it")
    parser.add_argument("--steps", type=int, default=0, help="stop after this many steps instead, whatever the time")
    parser.add_argument("--vocabulary", type=int, default=512)
    parser.add_argument("--width", type=int, default=192)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--batch-tokens", type=int, default=6000)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    torch.set_num_threads(min(2, os.cpu_count() or 1))
    torch.manual_seed(args.seed)
    print(f"reading {args.corpus}", flush=True)
    with open(args.corpus) as file:
        rows = [json.loads(line) for line in file]
    texts = [r["completion"] + "\n" + r["prompt"][-1]["content"] for r in rows[:20000]]
    tokenizer = train_tokenizer(texts, args.vocabulary)
    data = encode(rows, tokenizer)
    del rows, texts
    print(f"{len(data)} dialogues, {sum(len(t) for t, _ in data) / 1e6:.1f}M tokens, vocabulary {len(tokenizer)}")

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
    train(model, data, tokenizer.pad_token_id, args)

    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    model.half().save_pretrained(out)
    tokenizer.save_pretrained(out)
    write_gguf(model.float(), tokenizer, out / "malt-tiny.gguf", "malt-tiny")
    for file in sorted(out.iterdir()):
        print(f"{file.stat().st_size / 1e6:7.2f} MB  {file}")


if __name__ == "__main__":
    main()
