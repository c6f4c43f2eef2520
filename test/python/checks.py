"""Drives python/train.py on a microscopic model in one process, and says what it saw as one JSON object per line.

Usage: checks.py MODEL STAGE.yaml … makes a random Llama of two layers with malt-tiny's tokenizer in MODEL, trains the
stages without a break, and then tries the checks of DPO's start on starts that are wrong. test/train-torch.test.ts reads
the lines.
"""

import json
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
    config = LlamaConfig(vocab_size=512, max_position_embeddings=512, **sizes)
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


def main() -> None:
    from transformers import AutoTokenizer

    model, stages = Path(sys.argv[1]), [Path(arg) for arg in sys.argv[2:]]
    make_model(model)
    truncation(AutoTokenizer.from_pretrained(model))
    os.chdir(stages[0].parent)
    for path in stages:
        train.run_stage(path, stage.data_sha256(stage.read_config(path)[0]), gguf=True)
    verdict("changed data", lambda: train.run_stage(stages[0], ["another SHA-256"]))
    dpo_starts(stages[-1])
    joined(stages[-1])


main()
