"""Trains LoRA adapters with TRL: one stage after another, as YAML files say (src/train/ writes them).

Scope: SFT on positives, DPO from an SFT adapter with that adapter as the reference, checkpoints, metrics. stage.py reads
a stage's inputs, preference.py checks the start of DPO. It leaves out what to train and in which order
(src/train/) and serving (src/models/embedded.ts).

A YAML file holds TRL's own keys (SFTConfig or DPOConfig, ModelConfig, datasets), with paths relative to its folder. Four
keys are ours: `start_adapter`, the adapter to start from (DPO needs one), `trainer: dpo` (default: sft), `example_weights:
true` for SFT on rows with a `weight`, and `dpo_margin` for DPO on pairs with a `margin` (value_losses.py, which also gives
TRL's `label_smoothing` its meaning). A file with none of them runs under `trl sft --config` too.

Each stage's output_dir gets metrics.jsonl (one line per logged step), checkpoint-N/ while it trains, and at the end
adapter_model.safetensors and done.json, with --gguf also <stage>.gguf. The same command continues from the newest
checkpoint and skips stages that are done. SIGTERM saves a checkpoint and ends with exit code 143.

--processes 4 trains each stage in four processes, one a GPU; the examples of a step are shared among them (processes.py).

--jobs 2 trains two stages at a time, each in a process of its own, as soon as the stages they start from are done. A
small model's step gains so little from a second thread that two stages side by side take little longer than one.

stdout has one JSON object per line for the reader (src/train/status.ts); everything else goes to stderr.
"""

import argparse
import gc
import hashlib
import json
import os
import shutil
import signal
import sys
import time
import traceback
import warnings
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from multiprocessing import get_context
from pathlib import Path
from threading import Thread

from preference import check_first_loss, check_start, expected_log_probs, fitting_pairs, trainer_log_probs
from processes import here, in_processes
from stage import (
    Refused,
    base_model,
    check_numbers,
    data_sha256,
    read_config,
    read_rows,
    sha256,
    start_sha256,
    weights_of,
    write_whole,
)
from visible import VisibleStream

sys.stderr = VisibleStream(sys.stderr)

# Two spinning threads starve each other as soon as anything else runs on the machine.
os.environ.setdefault("OMP_NUM_THREADS", str(min(2, os.cpu_count() or 1)))
os.environ.setdefault("GOMP_SPINCOUNT", "2000")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# The log's last lines are shown when a stage fails: they should be about the failure.
warnings.filterwarnings("ignore", category=FutureWarning)

STOPPED = 143


def stop_with_parent() -> None:
    """Stops, as at SIGTERM, when stdin closes: its other end is a process that has just ended, however it ended."""

    def watch():
        while os.read(0, 4096):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    Thread(target=watch, daemon=True).start()


class Stop:
    """A request to stop. During a step it takes effect at the end of the step, otherwise at once."""

    asked = False
    working = True
    training = False

    @classmethod
    def ask(cls, *_):
        cls.asked = True
        if cls.working and not cls.training:
            sys.exit(STOPPED)


def say(event: str, **fields) -> None:
    """One JSON line on stdout for the parent; of several processes the first one speaks, and one that fails."""
    if here.first or fields.get("state") == "failed":
        print(json.dumps({"event": event, **fields}), flush=True)


def last_checkpoint(folder: Path) -> Path | None:
    """The newest complete checkpoint (trainer_state.json is written last); removes incomplete ones."""
    found = [path for path in folder.glob("checkpoint-*") if path.name[11:].isdigit()]
    for path in sorted(found, key=lambda path: -int(path.name[11:])):
        try:
            json.loads((path / "trainer_state.json").read_text())
            return path
        except (OSError, ValueError):
            shutil.rmtree(path)
    return None


def metric_rows(path: Path, last_step: int) -> list[dict]:
    """The rows up to a step. A row that was cut off by a kill comes after every checkpoint."""
    rows = []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            row = json.loads(line)
        except ValueError:
            break
        if row["step"] > last_step:
            break
        rows.append(row)
    return rows


def follow_callback(output: Path, stage: str, check=None):
    """
    Writes metrics.jsonl, reports progress, and ends the training when a signal asks for it.
    @param check: called with (step) when the weights are in place, and with (1, row) after the first step
    """
    from transformers import TrainerCallback

    path = output / "metrics.jsonl"

    class Follow(TrainerCallback):
        rows: list[dict] = []

        def on_train_begin(self, args, state, control, **_):
            if check:
                check(state.global_step)
            # What was logged after the checkpoint will be logged again.
            self.rows = metric_rows(path, state.global_step)
            here.wait()
            if here.first:
                path.write_text("".join(f"{json.dumps(row)}\n" for row in self.rows))
            # TRL counts tokens, and this file seconds, from the start of the process.
            before = self.rows[-1] if self.rows else {"tokens": 0, "seconds": 0}
            self.start, self.first_step = time.time() - before["seconds"], state.global_step
            self.tokens_before, self.seconds_before = before["tokens"] or 0, before["seconds"]
            say("begin", stage=stage, step=state.global_step, steps=state.max_steps)

        def on_step_end(self, args, state, control, **_):
            if here.any(Stop.asked):
                Stop.asked = True
                control.should_save = control.should_training_stop = True
            return control

        def on_log(self, args, state, control, logs=None, **_):
            if not logs or "loss" not in logs:
                return
            seconds = time.time() - self.start
            pace = (seconds - self.seconds_before) / max(state.global_step - self.first_step, 1)
            tokens = logs.get("num_tokens")
            row = {
                "stage": stage,
                "step": state.global_step,
                "steps": state.max_steps,
                "epoch": logs.get("epoch"),
                "loss": logs["loss"],
                "learning_rate": logs.get("learning_rate"),
                "margin": logs.get("rewards/margins"),
                "chosen_reward": logs.get("rewards/chosen"),
                "rejected_reward": logs.get("rewards/rejected"),
                "preference_accuracy": logs.get("rewards/accuracies"),
                "chosen_logp": logs.get("logps/chosen"),
                "rejected_logp": logs.get("logps/rejected"),
                "token_accuracy": logs.get("mean_token_accuracy"),
                "tokens": None if tokens is None else int(tokens) + self.tokens_before,
                "seconds": round(seconds, 3),
            }
            self.rows.append(row)
            if here.first:
                with path.open("a") as file:
                    file.write(json.dumps(row) + "\n")
            say("step", **row, seconds_left=round(pace * (state.max_steps - state.global_step), 1))
            if check and state.global_step == 1:
                check(1, row)

    return Follow()


def build(path: Path):
    """The trainer of a YAML file, its tokenizer, rows and counts, and how its base model was loaded; nothing is trained yet."""
    import torch
    from datasets import Dataset
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer, PrinterCallback, ProgressCallback
    from transformers.utils import logging
    from trl import DPOConfig, DPOTrainer, ModelConfig, SFTConfig, SFTTrainer, TrlParser, get_peft_config

    logging.disable_progress_bar()
    config, ours = read_config(path)
    dpo = ours["trainer"] == "dpo"
    rows = read_rows(config)
    keys = {key: value for key, value in config.items() if key != "datasets"} | {"model_name_or_path": base_model(config)}
    here.share_batch(keys)
    if not torch.cuda.is_available():
        # So that a file written for a GPU also runs, slowly, where there is none.
        keys.setdefault("use_cpu", True)
    args, model_args = TrlParser((DPOConfig if dpo else SFTConfig, ModelConfig)).parse_dict(keys)
    torch.manual_seed(args.seed)
    tokenizer = AutoTokenizer.from_pretrained(model_args.model_name_or_path)
    loading = {"dtype": getattr(torch, model_args.dtype or "float32"), "attn_implementation": model_args.attn_implementation}
    model = AutoModelForCausalLM.from_pretrained(model_args.model_name_or_path, **loading)
    if ours["start_adapter"]:
        model = PeftModel.from_pretrained(model, ours["start_adapter"], is_trainable=True)
    counts = {"examples": len(rows)}
    if dpo:
        rows, counts = fitting_pairs(rows, tokenizer, args.max_length)
        if not rows:
            raise Refused(
                f"all {counts['pairs']} pairs are identical after truncation to {args.max_length} tokens; raise max_length"
            )
    kind = DPOTrainer if dpo else SFTTrainer
    if not dpo:
        check_numbers(rows, "weight", bool(ours["example_weights"]), "--weights")
    elif ours["dpo_margin"]:
        check_numbers(rows, "margin", True, "--margins")
    if ours["dpo_margin"] or ours["example_weights"] or (dpo and args.label_smoothing):
        from value_losses import ValueDPOTrainer, WeightedSFTTrainer

        kind = ValueDPOTrainer if dpo else WeightedSFTTrainer
        column = "margin" if dpo else "weight"
        # Weights of mean 1 keep the learning rate's meaning. Smoothing alone reads no margin.
        mean = 1 if dpo else sum(row[column] for row in rows) / len(rows)
        if not mean:
            raise Refused("all examples have weight 0; export them under another estimator or with --weights none")
        rows = [row | {column: float(row.get(column, 0)) / mean} for row in rows]
    trainer = kind(
        model=model,
        args=args,
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
        peft_config=None if ours["start_adapter"] else get_peft_config(model_args),
    )
    if ours["dpo_margin"]:
        trainer.rule = ours["dpo_margin"]
    for printer in (PrinterCallback, ProgressCallback):
        trainer.remove_callback(printer)
    # TRL drops examples whose completion is truncated to nothing.
    counts["dropped"] = len(rows) - len(trainer.train_dataset)
    return trainer, tokenizer, rows, counts, {**loading, "gpu": not args.use_cpu and torch.cuda.is_available()}


def start_check(path: Path, trainer, tokenizer, rows: list[dict], loading: dict):
    """The check of a DPO stage's start, for `follow_callback`: it measures, reports, and rejects a wrong start."""
    config, ours = read_config(path)
    texts = [rows[i * len(rows) // 4] for i in range(min(4, len(rows)))]
    expected = expected_log_probs(base_model(config), ours["start_adapter"], tokenizer, texts, **loading)
    offsets = [row["margin"] for row in rows] if ours["dpo_margin"] == "offset" else [0.0]
    record = {}

    def check(step: int, row: dict | None = None) -> None:
        if row:
            say("first", stage=path.stem, loss=row["loss"], margin=row["margin"])
            check_first_loss(row["loss"], row["margin"], offsets, "sft" in trainer.args.loss_type)
            if not here.first:
                return
            write_whole(Path(config["output_dir"]) / "start.json", record | {"loss": row["loss"], "margin": row["margin"]})
            return
        numbers = trainer_log_probs(trainer, tokenizer, texts) | expected
        record["logp"] = {name: [round(value, 4) for value in values] for name, values in numbers.items()}
        say("start", stage=path.stem, step=step, logp=record["logp"])
        check_start(**numbers | ({"policy": None} if step else {}))

    return check


def run_stage(path: Path, data: list[str], gguf: bool = False) -> None:
    """
    Trains one stage to its end, from its last checkpoint if there is one; does nothing if it is done.
    @param data: SHA-256 of its data files when the training began; an export in between would mix two data sets
    """
    config, ours = read_config(path)
    stage, output = path.stem, Path(config["output_dir"])
    if data_sha256(config) != data:
        raise Refused("its data file has changed since the training began; run the same command again to train on the new one")
    start = start_sha256(ours)
    # The path of the base model does not identify its weights: another clone of the project has it elsewhere.
    settings = {key: value for key, value in config.items() if key != "model_name_or_path"}
    parts = [settings, ours, data, start, weights_of(base_model(config))]
    fingerprint = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    done = output / "done.json"
    if done.exists() and json.loads(done.read_text()).get("fingerprint") == fingerprint:
        if here.first:
            finish(output, gguf)
        return say("skip", stage=stage)
    state = output / "state.json"
    # The others look into the folder only once the first process has come as far as they have, below.
    if here.first and (not state.exists() or json.loads(state.read_text()).get("fingerprint") != fingerprint):
        # Another configuration, other data or another model: nothing of the old stage may be resumed.
        shutil.rmtree(output, ignore_errors=True)
        output.mkdir(parents=True)
        write_whole(state, {"fingerprint": fingerprint})
    say("load", stage=stage)
    trainer, tokenizer, rows, counts, loading = build(path)
    say("data", stage=stage, **counts)
    check = start_check(path, trainer, tokenizer, rows, loading) if ours["trainer"] == "dpo" else None
    follow = follow_callback(output, stage, check)
    trainer.add_callback(follow)
    if here.first:
        last_checkpoint(output)
    here.wait()
    checkpoint = last_checkpoint(output)
    Stop.training = True
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    Stop.training = False
    if Stop.asked and trainer.state.global_step < trainer.state.max_steps:
        sys.exit(STOPPED)
    if here.first:
        # The path in the stage's file, wherever the model was on the machine that trained it.
        trainer.model.peft_config["default"].base_model_name_or_path = config["model_name_or_path"]
        trainer.model.save_pretrained(output, selected_adapters=["default"])
        # A stage shorter than its logging_steps has logged nothing.
        last = follow.rows[-1] if follow.rows else {}
        losses = [row["loss"] for row in follow.rows[-10:]]
        summary = {
            "stage": stage,
            **counts,
            "steps": trainer.state.global_step,
            "loss": sum(losses) / len(losses) if losses else None,
            "tokens": last.get("tokens"),
            "seconds": last.get("seconds"),
            "device": str(trainer.accelerator.device),
            **({"processes": here.size} if here.size > 1 else {}),
            "sha256": sha256(output / "adapter_model.safetensors"),
            "start_sha256": start,
            "data_sha256": data,
            "config": config | {key: value for key, value in ours.items() if value},
            "versions": versions(),
            "fingerprint": fingerprint,
        }
        write_whole(done, summary)
        finish(output, gguf)
        shown = ("stage", "steps", "loss", "tokens", "seconds", "sha256")
        say("done", **{key: summary[key] for key in shown})
    # The next stage may start from what the first process has written.
    here.wait()


def finish(output: Path, gguf: bool) -> None:
    """The work after done.json is written; if a kill interrupts it, the next call repeats it."""
    if gguf:
        from adapter import gguf_path, write_gguf_adapter

        if not gguf_path(output).exists():
            try:
                write_gguf_adapter(output)
            except ValueError as error:
                # The adapter is trained and can be served by vLLM; evaluation says that it has no GGUF file.
                print(f"no adapter for llama.cpp: {error}", file=sys.stderr)
    for old in output.glob("checkpoint-*"):
        shutil.rmtree(old)


def begin_worker(asked, parent: int) -> None:
    """Makes a process of the pool end with its parent, and treat the parent's request to stop like a signal to
    itself."""
    Stop.working = False
    signal.signal(signal.SIGTERM, Stop.ask)
    signal.signal(signal.SIGINT, Stop.ask)

    def watch():
        while not asked.wait(0.5):
            if os.getppid() != parent:
                os._exit(1)
        os.kill(os.getpid(), signal.SIGTERM)

    Thread(target=watch, daemon=True).start()


def work(path: Path, data: list[str], gguf: bool) -> None:
    """A stage in a process of the pool."""
    if Stop.asked:
        sys.exit(STOPPED)
    Stop.working = True
    try:
        os.chdir(path.parent)
        run_stage(path, data, gguf)
        gc.collect()
    finally:
        Stop.working = Stop.training = False


def run_side_by_side(files: list[Path], data: dict[Path, list[str]], gguf: bool, jobs: int) -> tuple[str, BaseException | None]:
    """
    Trains stages, `jobs` at a time, each after the one it starts from. If one ends early, the others save a checkpoint
    and stop.
    @return: the stage that ended early and why, or the last stage and None
    """
    os.environ["OMP_NUM_THREADS"] = str(max(1, min(2, (os.cpu_count() or 1) // jobs)))
    # Otherwise glibc returns the memory of every large tensor to the system, and page-faults it in again for the next
    # one.
    os.environ.setdefault("MALLOC_MMAP_THRESHOLD_", str(1 << 30))
    os.environ.setdefault("MALLOC_TRIM_THRESHOLD_", str(1 << 30))
    context = get_context("spawn")
    asked = context.Event()
    stop = lambda *_: asked.set()
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    starts, folders = {}, {}
    for path in files:
        config, ours = read_config(path)
        folders[path] = (path.parent / config["output_dir"]).resolve()
        starts[path] = ours["start_adapter"] and (path.parent / ours["start_adapter"]).resolve()
    waiting, running, failed = list(files), {}, None
    with ProcessPoolExecutor(jobs, context, begin_worker, (asked, os.getpid())) as pool:
        while running or (waiting and not asked.is_set()):
            unfinished = {folders[path] for path in [*waiting, *running.values()]}
            ready = [path for path in waiting if starts[path] not in unfinished] or waiting[: not running]
            for path in ready[: jobs - len(running)]:
                if not asked.is_set():
                    waiting.remove(path)
                    running[pool.submit(work, path, data[path], gguf)] = path
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                path, error = running.pop(future), future.exception()
                if error and (failed is None or isinstance(failed[1], SystemExit)):
                    failed = path, error
                    asked.set()
    if not failed and waiting:
        failed = waiting[0], SystemExit(STOPPED)
    path, error = failed or (files[-1], None)
    return path.stem, error


def versions() -> dict:
    from importlib.metadata import version

    names = ("torch", "transformers", "trl", "peft")
    return {"python": ".".join(map(str, sys.version_info[:3])), **{name: version(name) for name in names}}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", nargs="+", type=Path, help="YAML files, trained in this order")
    parser.add_argument("--gguf", action="store_true", help="also write each adapter for llama.cpp (Llama and Qwen2 models)")
    parser.add_argument("--tied", action="store_true", help="stop, as at SIGTERM, when stdin closes")
    parser.add_argument("--processes", type=int, default=1, help="processes that train a stage together (default: 1)")
    parser.add_argument("--jobs", type=int, default=1, help="stages trained at the same time (default: 1)")
    options = parser.parse_args()
    files = [path.resolve() for path in options.config]
    if options.processes > 1:
        if options.tied:
            stop_with_parent()
        gguf = ["--gguf"] if options.gguf else []
        return in_processes(options.processes, [*gguf, *map(str, files)], STOPPED)
    signal.signal(signal.SIGTERM, Stop.ask)
    signal.signal(signal.SIGINT, Stop.ask)
    if options.tied:
        stop_with_parent()
    stage = files[0].stem
    try:
        # All files are read before the first is trained: loading torch takes seconds, training may take hours.
        data = {}
        for path in files:
            stage = path.stem
            os.chdir(path.parent)
            data[path] = data_sha256(read_config(path)[0])
        jobs = 1 if here.size > 1 else min(options.jobs, len(files), os.cpu_count() or 1)
        if jobs > 1:
            stage, error = run_side_by_side(files, data, options.gguf, jobs)
            if error:
                raise error
        for path in files if jobs <= 1 else []:
            stage = path.stem
            os.chdir(path.parent)
            run_stage(path, data[path], options.gguf)
            # A request to stop may have come during the last step of a stage: then the next stage is not started.
            if Stop.asked and path != files[-1]:
                sys.exit(STOPPED)
            gc.collect()
    except Refused as error:
        print(f"error: {stage}: {error}", file=sys.stderr, flush=True)
        say("end", state="failed", stage=stage, error=str(error))
        return 1
    except SystemExit:
        say("end", state="stopped", stage=stage)
        raise
    except BaseException as error:
        traceback.print_exc()
        say("end", state="failed", stage=stage, error=f"{type(error).__name__}: {error}")
        return 1
    say("end", state="done", stage=stage)
    return 0


if __name__ == "__main__":
    sys.exit(main())
