"""Drives python/train.py on a microscopic model in one process, and says what it saw as one JSON object per line.

Usage: checks.py MODEL STAGE.yaml … makes a random Llama of two layers with malt-tiny's tokenizer in MODEL, packs rows of
pretraining for it, trains the stages without a break, and then tries the checks of DPO's start on starts that are wrong.
test/train/torch.test.ts reads the lines.
"""

import json
import math
import os
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "python"))

import preference  # noqa: E402
import stage  # noqa: E402
import train  # noqa: E402



def says(role: str, content: str) -> list[dict]:
    return [{"role": role, "content": content}]


def make_model(folder: Path) -> None:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = LlamaConfig(vocab_size=1024, max_position_embeddings=512, **sizes)
    LlamaForCausalLM(config).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(ROOT / "data" / "malt-tiny" / name, folder / name)


def verdict(name: str, check) -> None:
    """Runs a check and says what it refused, or that it did not."""
    try:
        check()
        print(json.dumps({"check": name, "refused": None}), flush=True)
    except stage.Refused as error:
        print(json.dumps({"check": name, "refused": str(error)}), flush=True)


def dpo_starts(path: Path) -> None:
    """A right start of the DPO stage at `path`, and wrong ones, each through the trainer that TRL makes of it."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM
    from trl import DPOConfig, DPOTrainer

    config, ours = stage.read_config(path)
    trainer, tokenizer, rows, _, loading = train.build(path)
    expected = preference.expected_log_probs(config["model_name_or_path"], ours["start_adapter"], tokenizer, rows[:2], **loading)

    def check(trainer, resumed=False):
        numbers = preference.trainer_log_probs(trainer, tokenizer, rows[:2])
        preference.check_start(**numbers | expected | ({"policy": None} if resumed else {}))

    verdict("SFT adapter", lambda: check(trainer))

    # The adapter "ref" gone, TRL falls back to the base model as the reference.
    trainer.model.delete_adapter("ref")
    verdict("base-model reference", lambda: check(trainer))
    verdict("base-model reference after a resume", lambda: check(trainer, resumed=True))

    # What `trl dpo` does by itself: a fresh adapter on the base model, with the base model as the reference.
    base = AutoModelForCausalLM.from_pretrained(config["model_name_or_path"])
    fresh = get_peft_model(base, LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM"))
    args = DPOConfig(output_dir="fresh", max_steps=1, logging_steps=1, save_strategy="no", use_cpu=True, report_to="none")
    start = DPOTrainer(model=fresh, args=args, train_dataset=trainer.train_dataset, processing_class=tokenizer)
    verdict("base-model start", lambda: check(start))
    start.train()
    logged = next(row for row in start.state.log_history if "loss" in row)
    verdict("loss of a base-model start", lambda: preference.check_first_loss(logged["loss"], logged["rewards/margins"]))
    verdict("loss of another start", lambda: preference.check_first_loss(0.6951, 0.0))


def loss(trainer, places: list[int]) -> float:
    """The trainer's loss on a batch of some of its rows, without dropout or a step."""
    import torch

    batch = trainer.data_collator([trainer.train_dataset[i] for i in places])
    with torch.no_grad():
        return trainer.compute_loss(trainer.model.eval(), batch).item()


def value_losses(sft: Path, dpo: Path) -> None:
    """The losses that use values, beside what they must equal, on the first batch of data with weights and margins."""
    import torch
    import yaml
    from value_losses import pair_loss

    def stage_file(path: Path, column: str, numbers: list[float], **keys) -> Path:
        config = yaml.safe_load(path.read_text())
        data = Path(config["datasets"][0]["data_files"])
        rows = [json.loads(line) for line in data.read_text().splitlines()]
        rows = [row | {column: numbers[i % len(numbers)]} for i, row in enumerate(rows)]
        other = data.with_name(f"{column}-{data.name}")
        other.write_text("".join(json.dumps(row) + "\n" for row in rows))
        config |= {"datasets": [{"path": "json", "data_files": other.name}], **keys}
        new = path.with_name(f"{column}-{path.name}")
        new.write_text(yaml.safe_dump(config))
        return new

    def say(name: str, **numbers) -> None:
        print(json.dumps({"check": name, **numbers}), flush=True)

    plain = train.build(sft)[0]
    weighted = train.build(stage_file(sft, "weight", [3, 1], example_weights=True))[0]
    weights = [weighted.train_dataset[i]["weight"] for i in range(4)]
    tokens = [sum(label != -100 for label in plain.train_dataset[i]["labels"]) for i in range(4)]
    alone = [loss(plain, [i]) for i in range(4)]
    expected = sum(w * n * each for w, n, each in zip(weights, tokens, alone, strict=True)) / sum(tokens)
    # A fresh adapter starts at the base model, so both trainers have the same policy.
    say("weighted SFT", weights=weights, loss=loss(weighted, [0, 1, 2, 3]), expected=expected, plain=loss(plain, [0, 1, 2, 3]))
    unasked = stage_file(sft, "weight", [3, 1])
    verdict("weights that are not read", lambda: train.build(unasked))
    verdict("weights that are not there", lambda: train.build(stage_file(sft, "weight", [1, -1], example_weights=True)))

    # The policy of a trained DPO stage has margins of its own.
    gaps = [1 / 3, 1.0]
    for name, keys in {
        "smoothing": {"label_smoothing": 0.25},
        "offset": {"dpo_margin": "offset"},
        "target": {"dpo_margin": "target"},
    }.items():
        trainer = train.build(stage_file(dpo, "margin", gaps, **keys))[0]
        trained = Path(yaml.safe_load(dpo.read_text())["output_dir"])
        trainer.model.load_adapter(trained, "trained")
        trainer.model.set_adapter("trained")
        places = [0, 1, 2, 3]
        # Of one pair the plain loss is −log σ(margin), which gives the margin.
        margins = []
        for i in places:
            rule, smoothing = trainer.rule, trainer.label_smoothing
            trainer.rule, trainer.label_smoothing = None, 0
            margins.append(-torch.log(torch.expm1(torch.tensor(loss(trainer, [i]), dtype=torch.float64))))
            trainer.rule, trainer.label_smoothing = rule, smoothing
        gap = torch.tensor([gaps[i % 2] for i in places], dtype=torch.float64)
        expected = pair_loss(torch.stack(margins), gap, trainer.rule, trainer.label_smoothing).mean().item()
        say(f"DPO with {name}", loss=loss(trainer, places), expected=expected, margins=[m.item() for m in margins])
        grid = torch.linspace(-6, 6, 12001, dtype=torch.float64)
        best = [grid[pair_loss(grid, torch.full_like(grid, g), trainer.rule, trainer.label_smoothing).argmin()].item() for g in gaps]
        say(f"optimum with {name}", best=best)


def sft_term(dpo: Path) -> None:
    """DPO with the chosen texts' own loss beside it, on single pairs: what is added is five times that loss per token."""
    import yaml

    other = dpo.with_name(f"sft-term-{dpo.name}")
    config = yaml.safe_load(dpo.read_text())
    other.write_text(yaml.safe_dump(config | {"loss_type": ["sigmoid", "sft"], "loss_weights": [1, 5]}))
    plain, (both, tokenizer, rows, *_) = train.build(dpo)[0], train.build(other)

    added = [loss(both, [i]) - loss(plain, [i]) for i in range(3)]
    logp = preference.trainer_log_probs(both, tokenizer, rows[:3])["policy"]
    tokens = [len(whole) - start for whole, start in (preference.encode(tokenizer, row["prompt"], row["chosen"]) for row in rows[:3])]
    print(json.dumps({"check": "sft term", "added": added, "expected": [-5 * p / n for p, n in zip(logp, tokens, strict=True)]}), flush=True)
    # It starts above ln 2, and a start below is still refused.
    verdict("first loss with an sft term", lambda: preference.check_first_loss(math.log(2) + added[0], 0.0, sft=True))
    verdict("too small a first loss with an sft term", lambda: preference.check_first_loss(0.6, 0.0, sft=True))


def truncation(tokenizer) -> None:
    """Three pairs: different, different only behind the limit, and with a prompt that leaves no room for either answer."""
    prompt, chosen, rejected = says("user", "2 + 3?"), says("assistant", "5"), says("assistant", "6")
    same = "7 " * 20
    plain = {"prompt": prompt, "chosen": chosen, "rejected": rejected}
    late = {"prompt": prompt, "chosen": says("assistant", f"{same}5"), "rejected": says("assistant", f"{same}6")}
    long = plain | {"prompt": says("user", "1 + " * 40)}
    kept, counts = preference.fitting_pairs([plain, late, long], tokenizer, 30)
    print(json.dumps({"check": "truncation", "kept": len(kept), **counts}), flush=True)
    whole, _ = preference.fitting_pairs([late, long], tokenizer, None)
    print(json.dumps({"check": "no truncation", "kept": len(whole)}), flush=True)


def joined(path: Path) -> None:
    """An adapter on top of another that was merged, against both joined into one on the base model."""
    import join_adapters
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    config, ours = stage.read_config(path)
    base, first, second = config["model_name_or_path"], Path(ours["start_adapter"]), Path(config["output_dir"])
    rows, tokenizer = stage.read_rows(config)[:3], AutoTokenizer.from_pretrained(base)
    load = lambda: AutoModelForCausalLM.from_pretrained(base)
    values = lambda model: preference.log_probs(model, tokenizer, rows)
    both = PeftModel.from_pretrained(PeftModel.from_pretrained(load(), first).merge_and_unload(), second)
    join_adapters.join(first, second, Path("joined"))
    one = PeftModel.from_pretrained(load(), "joined")
    found = {"joined": values(one), "stacked": values(both), "first": values(PeftModel.from_pretrained(load(), first))}
    print(json.dumps({"check": "joined adapters", **found}), flush=True)


def packing(folder: Path) -> None:
    """How far a dialogue's logits in the packed rows of pretraining are from those it has alone."""
    import pretrain
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager")
    # Four of them fill a row of 256, and long ones one of 512.
    dialogues = [([1 + i] * (300 if i % 16 == 0 else 64 - i % 3), 20) for i in range(400)]
    seen, furthest, targets = set(), 0.0, set()
    for ids, positions, weights in pretrain.pack(dialogues):
        rows = torch.from_numpy(ids).long()
        with torch.no_grad():
            packed = pretrain.logits_of(model, rows, torch.from_numpy(positions).long())
            for row, at in zip(*((positions == 1).nonzero())):
                length = next(len(tokens) for tokens, _ in dialogues if tokens[0] == ids[row, at])
                own = slice(at - 1, at - 1 + length)
                seen.add(int(ids[row, at]))
                alone = model(input_ids=rows[row : row + 1, own]).logits[0]
                furthest = max(furthest, (alone - packed[row, own]).abs().max().item())
                targets.add((int((weights[row, own] == 1).sum()) - length, ids.shape[1]))
    shapes = sorted(targets)
    print(json.dumps({"check": "packing", "dialogues": len(seen), "furthest": furthest, "targets": shapes}), flush=True)


def main() -> None:
    from transformers import AutoTokenizer

    model, stages = Path(sys.argv[1]), [Path(arg) for arg in sys.argv[2:]]
    make_model(model)
    truncation(AutoTokenizer.from_pretrained(model))
    packing(model)
    os.chdir(stages[0].parent)
    for path in stages:
        train.run_stage(path, stage.data_sha256(stage.read_config(path)[0]), gguf=True)
    verdict("changed data", lambda: train.run_stage(stages[0], ["another SHA-256"]))
    dpo_starts(stages[-1])
    joined(stages[-1])
    value_losses(stages[0], stages[-1])
    sft_term(stages[-1])


main()
