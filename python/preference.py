"""What makes DPO on a role's pairs trustworthy: pairs that still differ when cut, and a start that is the SFT policy.

Scope: measuring and checking; python/train.py decides when. The tests also run these functions on wrong starts.
"""

import gc
import math

from stage import Refused


def encode(tokenizer, prompt: list[dict], completion: list[dict]) -> tuple[list[int], int]:
    """Token ids of prompt and completion under the chat template, and how many of them are the prompt."""
    ask = tokenizer.apply_chat_template(prompt, add_generation_prompt=True, tokenize=True, return_dict=False)
    return tokenizer.apply_chat_template(prompt + completion, tokenize=True, return_dict=False), len(ask)


def fitting_pairs(rows: list[dict], tokenizer, max_length: int | None) -> tuple[list[dict], dict]:
    """
    The pairs that still differ after truncation to `max_length` tokens. TRL keeps the start of prompt and completion, so
    a long prompt can leave nothing of either answer; such a pair has no gradient.
    """
    kept = []
    for row in rows:
        (chosen, start), (rejected, _) = (encode(tokenizer, row["prompt"], row[side]) for side in ("chosen", "rejected"))
        if chosen[start:max_length] != rejected[start:max_length]:
            kept.append(row)
    return kept, {"pairs": len(rows), "identical_after_truncation": len(rows) - len(kept)}


def log_probs(model, tokenizer, rows: list[dict]) -> list[float]:
    """log p(chosen | prompt) in nats, summed over the completion's tokens, one text at a time and without autocast."""
    import torch

    values = []
    was_training = model.training
    model.eval()
    with torch.no_grad(), torch.autocast(model.device.type, enabled=False):
        for row in rows:
            whole, start = encode(tokenizer, row["prompt"], row["chosen"])
            ids = torch.tensor([whole], device=model.device)
            logits = model(input_ids=ids, use_cache=False).logits.float()
            chosen = torch.log_softmax(logits[0, :-1], -1).gather(1, ids[0, 1:, None])[:, 0]
            values.append(chosen[start - 1 :].sum().item())
    model.train(was_training)
    return values


def trainer_log_probs(trainer, tokenizer, rows: list[dict]) -> dict:
    """log p of the texts under a DPO trainer's policy and under what it uses as its reference."""
    from trl.trainer.dpo_trainer import use_adapter

    model = trainer.model
    # The inner model: the trainer has wrapped the outer one in autocast, whose rounding would blur the comparison.
    numbers = {"policy": log_probs(model.get_base_model(), tokenizer, rows)}
    if trainer.ref_model is not None:
        return numbers | {"reference": log_probs(trainer.ref_model, tokenizer, rows)}
    # The way DPOTrainer itself reaches its reference: the adapter "ref", or no adapter at all.
    with use_adapter(model, "ref" if "ref" in model.peft_config else None):
        return numbers | {"reference": log_probs(model.get_base_model(), tokenizer, rows)}


def expected_log_probs(base: str, adapter: str, tokenizer, rows: list[dict], **loading) -> dict:
    """log p of the texts under the SFT adapter and the base model, both loaded from their files."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    device = "cuda" if loading.pop("gpu") else "cpu"
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base, **loading), adapter).to(device)
    numbers = {"sft": log_probs(model, tokenizer, rows)}
    with model.disable_adapter():
        numbers["base"] = log_probs(model, tokenizer, rows)
    del model
    gc.collect()
    if device == "cuda":
        torch.cuda.empty_cache()
    return numbers


def check_start(policy: list[float] | None, reference: list[float], sft: list[float], base: list[float], tolerance=1e-3) -> None:
    """
    The policy and the reference of DPO must both be the SFT policy. A loss that starts at ln 2 does not prove it: that
    holds for every policy that equals its reference, including a fresh adapter on the base model.
    @param policy: None where training goes on from a checkpoint: the policy has moved, its reference must not have
    @param tolerance: in nats, of a text's log-probability
    @raises Refused with the numbers
    """
    gap = lambda a, b: max(abs(x - y) for x, y in zip(a, b, strict=True))
    if not gap(sft, base) > tolerance:
        raise Refused(
            f"the SFT adapter changes no log-probability (largest difference from the base model {gap(sft, base):.2g}); "
            "train it longer, or check that it belongs to this model"
        )
    for name, values in (("policy", policy), ("reference", reference)):
        if values is not None and not gap(values, sft) <= tolerance:
            near = "the base model" if gap(values, base) <= tolerance else "neither the SFT adapter nor the base model"
            raise Refused(
                f"DPO's {name} is not the SFT policy: its log-probabilities are those of {near} (log p {values[0]:.4f}, "
                f"SFT {sft[0]:.4f}, base {base[0]:.4f}); give the SFT adapter as start_adapter and let the trainer copy it"
            )


def check_first_loss(loss: float, margin: float, offsets: list[float] = [0.0], sft: bool = False) -> None:
    """
    @param offsets: the pairs' offsets, where the loss asks for a margin of more than 0
    @param sft: whether the chosen texts' own loss is added, which is not negative: then the first loss is at least that
    @raises Refused unless the reward margin is 0 and the first loss is that of margin 0 within 1e-3: ln 2 = 0.6931, or with
        offsets ln(1 + e^offset), averaged over a batch
    """
    least, most = (math.log1p(math.exp(of(offsets))) for of in (min, max))
    most = math.inf if sft else most
    if not (least - 1e-3 <= loss <= most + 1e-3 and abs(margin) <= 1e-3):
        expected = "ln 2 = 0.6931" if most == least == math.log(2) else f"one between {least:.4f} and {most:.4f}"
        raise Refused(
            f"DPO starts at loss {loss:.4f} with margin {margin:.4f} and not at {expected} with margin 0: "
            "policy and reference differ before the first step"
        )
