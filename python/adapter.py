"""Writes a PEFT LoRA adapter of a Llama or Qwen2 model as a GGUF adapter for llama.cpp. Scope: the file; src/models/embedded.ts serves it.

By hand: `python adapter.py FOLDER`, where FOLDER holds adapter_config.json and adapter_model.safetensors.
"""

import json
import os
import sys
from pathlib import Path

import gguf
import numpy as np
from safetensors import safe_open

NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def gguf_path(folder: Path) -> Path:
    return folder / f"{folder.resolve().name}.gguf"


def base_config(base: str, folder: Path) -> dict:
    """config.json of the base model: a folder (relative ones as train.py sees them, from beside `folder`) or a hub's name."""
    local = folder.resolve().parent / base / "config.json"
    if local.exists():
        return json.loads(local.read_text())
    from transformers import AutoConfig

    return AutoConfig.from_pretrained(base).to_dict()


def rotary(weight: np.ndarray, heads: int) -> np.ndarray:
    """Rows of a Llama model in llama.cpp's order: its rotary embedding pairs neighbours, transformers' the halves of a head."""
    rows = weight.shape[0]
    return weight.reshape(heads, 2, rows // heads // 2, -1).swapaxes(1, 2).reshape(weight.shape)


def write_gguf_adapter(folder: Path, target: Path | None = None) -> Path:
    """
    Writes the adapter into its folder under the folder's own name, by which requests choose it; whole or not at all.
    Weights are kept in float32: an adapter is small, and rounding it would be a second, unseen change.
    @raises ValueError for an adapter that llama.cpp cannot apply
    """
    config = json.loads((folder / "adapter_config.json").read_text())
    base = base_config(os.environ.get("MALT_BASE_MODEL") or config["base_model_name_or_path"], folder)
    architecture = base.get("model_type")
    if architecture not in ("llama", "qwen2") or config.get("use_dora") or config.get("modules_to_save"):
        raise ValueError(
            f"{folder} cannot be written for llama.cpp: model_type {architecture}, use_dora {config.get('use_dora')}, "
            f"modules_to_save {config.get('modules_to_save')}; train plain LoRA on a Llama or Qwen2 model, or serve it with vLLM"
        )
    heads = {"q_proj": base["num_attention_heads"], "k_proj": base.get("num_key_value_heads") or base["num_attention_heads"]}
    alpha = config["lora_alpha"] * (config["r"] ** 0.5 if config.get("use_rslora") else 1)
    target = target or gguf_path(folder)
    draft = target.with_name(f"{target.name}.draft")
    writer = gguf.GGUFWriter(str(draft), architecture)
    writer.add_string("general.type", "adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", float(alpha))
    with safe_open(str(folder / "adapter_model.safetensors"), framework="np") as tensors:
        for key in sorted(tensors.keys()):
            # base_model.model.model.layers.3.self_attn.q_proj.lora_A.weight
            parts = key.split(".")
            at = parts.index("layers") if "layers" in parts else len(parts)
            block, module = parts[at + 1 : at + 2], ".".join(parts[at + 2 : at + 4])
            if module not in NAMES:
                raise ValueError(f"{folder} adapts {key}, which llama.cpp has no name for; use lora_target_modules: all-linear")
            weight = tensors.get_tensor(key).astype(np.float32)
            side = parts[at + 4][-1].lower()
            if architecture == "llama" and side == "b" and parts[at + 3] in heads:
                weight = rotary(weight, heads[parts[at + 3]])
            writer.add_tensor(f"blk.{block[0]}.{NAMES[module]}.weight.lora_{side}", np.ascontiguousarray(weight))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return draft.replace(target)


if __name__ == "__main__":
    print(write_gguf_adapter(Path(sys.argv[1])))
