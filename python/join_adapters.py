"""Joins two LoRA adapters, one trained on top of the other merged into the base model, into one for the base model.

B1 A1 + B2 A2 = [B1 B2] [A1; A2], so the joined adapter has the rank of both together and the same outputs. Both must
have the same weight alpha / rank and the same layers; adapters of other kinds (DoRA, trained embeddings) are refused.
"""

import argparse
import json
import sys
from pathlib import Path


def join(first: Path, second: Path, target: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    configs = [json.loads((folder / "adapter_config.json").read_text()) for folder in (first, second)]
    scales = [config["lora_alpha"] / (config["r"] ** 0.5 if config.get("use_rslora") else config["r"]) for config in configs]
    weights = [load_file(folder / "adapter_model.safetensors") for folder in (first, second)]
    if any(config.get("use_dora") or config.get("modules_to_save") or config.get("rank_pattern") for config in configs):
        raise SystemExit("error: only plain LoRA adapters can be joined")
    if scales[0] != scales[1] or weights[0].keys() != weights[1].keys():
        raise SystemExit("error: the adapters differ in their weight alpha / rank or in their layers")
    joined = {
        name: torch.cat([one.float(), weights[1][name].float()], dim=0 if ".lora_A." in name else 1).contiguous()
        for name, one in weights[0].items()
    }
    rank = configs[0]["r"] + configs[1]["r"]
    target.mkdir(parents=True, exist_ok=True)
    save_file(joined, target / "adapter_model.safetensors", metadata={"format": "pt"})
    config = configs[0] | {"r": rank, "lora_alpha": scales[0] * rank, "use_rslora": False}
    (target / "adapter_config.json").write_text(json.dumps(config, indent=2) + "\n")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("first", type=Path, help="folder of the adapter that was merged (SFT)")
    parser.add_argument("second", type=Path, help="folder of the adapter that was trained on the merged model (DPO)")
    parser.add_argument("target", type=Path, help="folder of the joined adapter")
    options = parser.parse_args()
    join(options.first, options.second, options.target)
    print(options.target)
    return 0


if __name__ == "__main__":
    sys.exit(main())
