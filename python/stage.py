"""The inputs of a stage: its YAML file, its data, and the adapter and model it starts from. Scope: reading and
identifying them."""

import hashlib
import json
import os
from pathlib import Path

# The keys of a YAML file that are not TRL's.
OURS = ("trainer", "start_adapter", "example_weights", "dpo_margin")
# The beginning and the size of a large weight file are enough to notice a different model.
WEIGHT_BYTES = 1 << 24


class Refused(Exception):
    """What is wrong with the input or with the start of a stage, and what to do: shown as one line."""


def write_whole(path: Path, content: dict) -> None:
    """Writes JSON to a temporary file and renames it, so that an existing file is always complete."""
    draft = path.with_name(f"{path.name}.draft")
    draft.write_text(json.dumps(content, indent=1) + "\n")
    draft.replace(path)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def read_config(path: Path) -> tuple[dict, dict]:
    """The YAML's keys, split into TRL's and ours. Rejects anything that is not a configuration."""
    import yaml

    try:
        config = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise Refused(f"{path.name} cannot be read ({' '.join(str(error).split())}); write it anew with `malt train`") from error
    sources = config.get("datasets") if isinstance(config, dict) else None
    listed = isinstance(sources, list) and all(isinstance(s, dict) and "data_files" in s for s in sources)
    if not listed or not config.get("output_dir"):
        raise Refused(f"{path.name} is no configuration of a stage: it needs at least output_dir and datasets with data_files")
    ours = {key: config.get(key) for key in OURS}
    if ours["trainer"] not in (None, "sft", "dpo"):
        raise Refused(f"{path.name}: trainer is {ours['trainer']!r}; it can be sft or dpo")
    if ours["dpo_margin"] not in (None, "offset", "target"):
        raise Refused(f"{path.name}: dpo_margin is {ours['dpo_margin']!r}; it can be offset or target")
    if ours["trainer"] == "dpo" and not ours["start_adapter"]:
        raise Refused(f"{path.name}: DPO needs start_adapter, the SFT adapter that is its start and its reference")
    return {key: value for key, value in config.items() if key not in OURS}, ours


def base_model(config: dict) -> str:
    """
    Where the base model is: what the YAML file says, or MALT_BASE_MODEL, where the files were copied to another machine. So
    the files, and with them what a checkpoint belongs to, are the same everywhere.
    """
    return os.environ.get("MALT_BASE_MODEL") or config["model_name_or_path"]


def data_files(config: dict) -> list[Path]:
    return [Path(source["data_files"]) for source in config["datasets"]]


def data_sha256(config: dict) -> list[str]:
    """@raises Refused if a data file is missing"""
    for path in data_files(config):
        if not path.is_file():
            raise Refused(f"data file {path} does not exist in {Path.cwd()}; make it with `malt export`")
    return [sha256(path) for path in data_files(config)]


def weights_of(model: str) -> list:
    """Identifies a local model independently of its path; a hub model is identified by its name."""
    if not Path(model).is_dir():
        return [model]
    found = [*Path(model).glob("*.safetensors"), *Path(model).glob("config.json")]
    digests = []
    for path in sorted(found):
        with path.open("rb") as file:
            digests.append([path.name, path.stat().st_size, hashlib.sha256(file.read(WEIGHT_BYTES)).hexdigest()])
    return digests


def start_sha256(ours: dict) -> str | None:
    """@raises Refused if the stage this one continues from has no adapter"""
    if not ours["start_adapter"]:
        return None
    path = Path(ours["start_adapter"]) / "adapter_model.safetensors"
    if not path.is_file():
        raise Refused(f"start_adapter {path} does not exist; train the stage {ours['start_adapter']} first")
    return sha256(path)


def check_numbers(rows: list[dict], column: str, wanted: bool, option: str) -> None:
    """
    Each row has a number in a column that the stage reads, or none has it where the stage does not read it: a weight that
    were silently left out would train something else than was asked.
    @raises Refused that names the first other row
    """
    for number, row in enumerate(rows, 1):
        value = row.get(column)
        if wanted and not (isinstance(value, (int, float)) and 0 <= value < float("inf")):
            raise Refused(f"row {number} has {column} {value!r}, not a number of at least 0; run `malt export {option}` first")
        if not wanted and value is not None:
            raise Refused(f"row {number} has a {column}, which this stage does not read; write its file anew with `malt train`")


def read_rows(config: dict) -> list[dict]:
    rows = []
    for path in data_files(config):
        for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), 1):
            if not line.strip():
                continue
            try:
                rows.append(json.loads(line))
            except ValueError as error:
                advice = "make the file anew with `malt export`"
                raise Refused(f"{path.name} line {number} is not JSON ({error}); {advice}") from error
    if not rows:
        raise Refused(
            f"{data_files(config)[0]} is empty: no output of this role is on the right side of the threshold; "
            "sample more questions, or leave the stage out with --roles or --stages"
        )
    return rows
