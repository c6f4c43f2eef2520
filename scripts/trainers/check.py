"""Checks files of `malt train --write TRAINER --out FOLDER` with that trainer's own code, in its own environment.

    python scripts/trainers/check.py axolotl|llama-factory FOLDER [--reference STAGE --model BASE]

Every YAML file goes through the trainer's own loader; a key that the loader does not know, or whose value it changes, is
an error, since these trainers ignore unknown keys. With --reference the DPO stage STAGE is built by the trainer's own
code, after its SFT stage was trained, and the log-probabilities of its policy and of its reference are compared with
those of the SFT adapter and of the base model.
"""

import argparse
import os
import sys
from pathlib import Path

import yaml


def axolotl_config(path: Path):
    from axolotl.cli.config import load_cfg
    from axolotl.utils.schemas.config import AxolotlInputConfig

    raw = yaml.safe_load(path.read_text())
    unknown = [key for key in raw if key not in AxolotlInputConfig.model_fields]
    config = load_cfg(path.name)
    return config, raw, unknown, {key: config.get(key) for key in raw if key not in unknown}


def llama_factory_config(path: Path):
    from llamafactory.hparams import get_train_args

    raw = yaml.safe_load(path.read_text())
    # Its parser refuses unknown keys by itself.
    groups = get_train_args(dict(raw))
    found = {key: next(getattr(group, key) for group in groups if hasattr(group, key)) for key in raw}
    # What it changes on purpose: names become lists, and "none" an empty one.
    plain = lambda value: ",".join(value) or "none" if isinstance(value, list) else value
    found = {key: plain(value) if isinstance(raw[key], str) else value for key, value in found.items()}
    return groups, raw, [], found


def same(asked, found) -> bool:
    if isinstance(asked, dict):
        return all(same(value, dict(found).get(key)) for key, value in asked.items())
    if isinstance(asked, list):
        return len(asked) == len(found) and all(same(one, other) for one, other in zip(asked, found, strict=True))
    return asked == found or str(asked) == str(getattr(found, "value", found)) or (isinstance(asked, str) and Path(asked) == Path(str(found)))


def check(trainer: str, path: Path):
    config, raw, unknown, found = (axolotl_config if trainer == "axolotl" else llama_factory_config)(path)
    changed = [f"{key}: {raw[key]!r} became {found[key]!r}" for key in found if not same(raw[key], found[key])]
    problems = [f"unknown key {key}" for key in unknown] + changed
    print(f"{path.name}: {len(raw)} keys, {'all as written' if not problems else '; '.join(problems)}")
    return config, problems


def axolotl_trainer(config):
    from axolotl.common.datasets import load_preference_datasets
    from axolotl.train import setup_model_and_trainer

    data = load_preference_datasets(cfg=config)
    return setup_model_and_trainer(config, data)[0]


def llama_factory_trainer(groups):
    from llamafactory.data import PairwiseDataCollatorWithPadding, get_dataset, get_template_and_fix_tokenizer
    from llamafactory.extras.constants import IGNORE_INDEX
    from llamafactory.model import load_model, load_tokenizer
    from llamafactory.train.dpo.trainer import CustomDPOTrainer
    from llamafactory.train.trainer_utils import create_ref_model

    model_args, data_args, training_args, finetuning_args, _ = groups
    module = load_tokenizer(model_args)
    template = get_template_and_fix_tokenizer(module["tokenizer"], data_args)
    data = get_dataset(template, model_args, data_args, training_args, stage="rm", **module)
    model = load_model(module["tokenizer"], model_args, finetuning_args, True)
    collator = PairwiseDataCollatorWithPadding(template=template, model=model, pad_to_multiple_of=8, label_pad_token_id=IGNORE_INDEX, **module)
    reference = create_ref_model(model_args, finetuning_args)
    return CustomDPOTrainer(model=model, ref_model=reference, args=training_args, finetuning_args=finetuning_args, data_collator=collator, **data, **module)


def log_probs(model, batches) -> list[float]:
    """log p of each chosen text of (ids, where the completion starts), in nats."""
    import torch

    values = []
    model.eval()
    with torch.no_grad():
        for ids, start in batches:
            whole = torch.tensor([ids])
            logits = model(input_ids=whole).logits.float()
            each = torch.log_softmax(logits[0, :-1], -1).gather(1, whole[0, 1:, None])[:, 0]
            values.append(each[start - 1 :].sum().item())
    return values


def reference(trainer_name: str, config, base: str, sft: str, rows) -> int:
    from contextlib import nullcontext

    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base)
    encode = lambda messages, **more: tokenizer.apply_chat_template(messages, tokenize=True, return_dict=False, **more)
    batches = [(encode(row["prompt"] + row["chosen"]), len(encode(row["prompt"], add_generation_prompt=True))) for row in rows]
    load = lambda: AutoModelForCausalLM.from_pretrained(base, dtype="float32")
    numbers = {"base": log_probs(load(), batches), "SFT": log_probs(PeftModel.from_pretrained(load(), sft), batches)}
    trainer = axolotl_trainer(config) if trainer_name == "axolotl" else llama_factory_trainer(config)
    numbers["policy"] = log_probs(trainer.model, batches)
    other = trainer.ref_model
    off = nullcontext() if other is not None else trainer.model.disable_adapter()
    with off:
        numbers["reference"] = log_probs(other if other is not None else trainer.model, batches)
    for name, values in numbers.items():
        print(f"{name:>9}: {'  '.join(f'{value:9.4f}' for value in values)}")
    gap = lambda a, b: max(abs(x - y) for x, y in zip(numbers[a], numbers[b], strict=True))
    print("largest differences:", ", ".join(f"{a} to {b} {gap(a, b):.4f}" for a, b in (("policy", "SFT"), ("reference", "SFT"), ("reference", "base"))))
    # A trainer that merges the adapter or computes in bfloat16 rounds: a hundredth of what SFT has changed.
    close = 0.01 * gap("SFT", "base")
    fits = gap("policy", "SFT") < close and gap("reference", "SFT") < close
    print("DPO's start and reference are the SFT policy" if fits else "DPO's start or reference is NOT the SFT policy")
    return 0 if fits else 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trainer", choices=("axolotl", "llama-factory"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--reference", metavar="STAGE", help="a DPO stage whose SFT stage was trained")
    parser.add_argument("--model", help="the base model of the plan")
    parser.add_argument("--rows", type=Path, help="the DPO file as `malt export` wrote it")
    options = parser.parse_args()
    rows = options.rows and [yaml.safe_load(line) for line in options.rows.read_text().splitlines()[:4]]
    os.chdir(options.folder)
    problems = []
    for path in sorted(Path(".").glob("*.yaml")):
        if options.reference and path.stem != options.reference:
            continue
        config, found = check(options.trainer, path)
        problems += found
    if options.reference:
        sft = options.reference.replace("-dpo", "-sft")
        return reference(options.trainer, config, options.model, sft, rows) or int(bool(problems))
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
