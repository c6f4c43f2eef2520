"""Converts random models of two layers from GGUF files with python/trainable.py, and says what it found of each as one JSON
object per line. Usage: trainable_checks.py FOLDER. test/train/trainable.test.ts reads the lines.
"""

import json
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "python"))

import gguf  # noqa: E402
import pretrain  # noqa: E402
import torch  # noqa: E402
import trainable  # noqa: E402
from adapter import write_gguf_adapter  # noqa: E402
from peft import LoraConfig, get_peft_model  # noqa: E402
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, Qwen2Config  # noqa: E402

NAMES = {
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
}
WHOLE = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}


def write(path: Path, architecture: str, tie: bool, **changes) -> Path:
    """A random model with malt-tiny's tokenizer and grouped queries, as llama.cpp's converter writes it."""
    torch.manual_seed(7)
    tokenizer = AutoTokenizer.from_pretrained(ROOT / "data" / "malt-tiny")
    sizes = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
    kind = Qwen2Config if architecture == "qwen2" else LlamaConfig
    config = kind(vocab_size=len(tokenizer), max_position_embeddings=1024, tie_word_embeddings=tie, initializer_range=0.3, **sizes)
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith("bias"):
                weight.normal_(0, 0.5)
    writer = gguf.GGUFWriter(str(path), architecture)
    writer.add_name("random")
    writer.add_context_length(1024)
    writer.add_embedding_length(64)
    writer.add_block_count(2)
    writer.add_feed_forward_length(96)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_dimension_count(16)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_vocab_size(len(tokenizer))
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    vocabulary = tokenizer.get_vocab()
    tokens = sorted(vocabulary, key=vocabulary.get)
    merges = json.loads(tokenizer.backend_tokenizer.to_str())["model"]["merges"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.CONTROL if t in pretrain.SPECIAL else gguf.TokenType.NORMAL for t in tokens])
    writer.add_token_merges([" ".join(m) if isinstance(m, list) else m for m in merges])
    writer.add_eos_token_id(changes.get("eos", tokenizer.eos_token_id))
    writer.add_pad_token_id(tokenizer.pad_token_id)
    writer.add_add_bos_token(False)
    if changes.get("template", True):
        writer.add_chat_template(pretrain.CHAT_TEMPLATE)
    for key, tensor in model.state_dict().items():
        weight = tensor.float().numpy()
        name, side = key.rsplit(".", 1)
        if name == "lm_head" and tie:
            continue
        if name in WHOLE:
            target = WHOLE[name]
        else:
            _, _, block, part = name.split(".", 3)
            target = f"blk.{block}.{NAMES[part]}"
            heads = {"self_attn.q_proj": 4, "self_attn.k_proj": 2}.get(part)
            if heads and architecture != "qwen2":
                weight = weight.reshape(heads, 2, 8, -1).swapaxes(1, 2).reshape(weight.shape)
        writer.add_tensor(f"{target}.{side}", weight)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def say(check: str, work) -> None:
    try:
        print(json.dumps({"check": check, "refused": None, **(work() or {})}), flush=True)
    except trainable.Differs as error:
        print(json.dumps({"check": check, "refused": str(error)}), flush=True)


def adapted(source: Path, base: Path, folder: Path) -> None:
    """A random adapter as llama.cpp applies it, against PEFT's own merge; and against the base, from which it must differ."""
    torch.manual_seed(3)
    lora = LoraConfig(r=4, lora_alpha=16, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM")
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(base), lora)
    model.save_pretrained(folder / "adapter")
    path = write_gguf_adapter(folder / "adapter")
    shutil.copytree(base, folder / "merged")
    merged = model.merge_and_unload()
    merged.save_pretrained(folder / "merged")
    about = trainable.metadata(source)
    server = trainable.Server(source, path)
    try:
        say(f"{source.stem} with its adapter", lambda: trainable.compare(server, folder / "merged", about))
        say(f"{source.stem} without its adapter", lambda: trainable.compare(server, base, about))
    finally:
        server.stop()


def wrong_folders(source: Path, base: Path, folder: Path) -> None:
    """Folders that are not what the server serves."""

    def changed(name: str, change) -> Path:
        shutil.copytree(base, folder / name)
        change(folder / name)
        return folder / name

    def other_weights(path: Path) -> None:
        model = AutoModelForCausalLM.from_pretrained(path)
        with torch.no_grad():
            layer = model.model.layers[0].self_attn
            layer.q_proj.weight.copy_(layer.q_proj.weight.flip(0))
        model.save_pretrained(path)

    def other_template(path: Path) -> None:
        template = path / "chat_template.jinja"
        template.write_text("Hello. " + template.read_text())

    about = trainable.metadata(source)
    server = trainable.Server(source)
    try:
        for name, change in (("other weights", other_weights), ("other template", other_template)):
            path = changed(name, change)
            say(name, lambda path=path: trainable.compare(server, path, about))
        other_end = about | {"tokenizer.ggml.eos_token_id": 9}
        say("other end", lambda: trainable.compare(server, base, other_end))
    finally:
        server.stop()


def main() -> None:
    folder = Path(sys.argv[1])
    for name, architecture, tie in (("llama", "llama", False), ("qwen2", "qwen2", True)):
        source = write(folder / f"{name}.gguf", architecture, tie)
        say(name, lambda: trainable.make(source, folder / name))
        (folder / f"{name}-adapter").mkdir()
        adapted(source, folder / name, folder / f"{name}-adapter")
    (folder / "wrong").mkdir()
    wrong_folders(folder / "qwen2.gguf", folder / "qwen2", folder / "wrong")
    phi = write(folder / "phi.gguf", "phi3", False)
    say("architecture", lambda: trainable.make(phi, folder / "phi"))
    mute = write(folder / "mute.gguf", "llama", False, template=False)
    say("no template", lambda: trainable.make(mute, folder / "mute"))
    print(json.dumps({"left": sorted(path.name for path in folder.iterdir() if path.is_dir())}))


if __name__ == "__main__":
    main()
