"""Runs a training whose files were uploaded with a job (src/train/launchers/ray.ts), keeps its folder where the next job finds it, and
hands the results out at the end of the log.

    python job.py FOLDER STAGE …        in the folder that was uploaded

Scope: what lies around job.sh, which trains. A checkpoint that an earlier job left in FOLDER is kept if it is further than the
one that was uploaded; whether it belongs to the same training, train.py checks.
"""

import base64
import json
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

# Of a line: a multiple of three, so that each is text of its own.
BYTES = 11_250


def progress(stage: Path) -> int:
    """How far a stage's folder is, in steps; the end counts most."""
    if (stage / "done.json").exists():
        return sys.maxsize
    steps = [path.parent.name.removeprefix("checkpoint-") for path in stage.glob("checkpoint-*/trainer_state.json")]
    return max((int(step) for step in steps if step.isdigit()), default=-1)


def fingerprint(stage: Path) -> str | None:
    try:
        return json.loads((stage / "state.json").read_text())["fingerprint"]
    except (OSError, ValueError, KeyError):
        return None


def bring(uploaded: Path, folder: Path) -> None:
    """Copies what was uploaded, but no stage over one of the same training that is further."""
    for name in ("python", "model"):
        if (uploaded / name).exists():
            shutil.copytree(uploaded / name, folder / name, dirs_exist_ok=True)
    shutil.copy(uploaded / "job.sh", folder / "job.sh")
    (folder / "train").mkdir(exist_ok=True)
    for path in (uploaded / "train").iterdir():
        target = folder / "train" / path.name
        if not path.is_dir():
            shutil.copy(path, target)
        elif fingerprint(path) != fingerprint(target) or progress(path) > progress(target):
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(path, target)


def hand_out(train: Path, stages: list[str]) -> None:
    """The stages' folders as lines of text."""
    with tempfile.TemporaryFile() as file:
        with tarfile.open(fileobj=file, mode="w:gz", compresslevel=1) as archive:
            for stage in stages:
                if (train / stage).is_dir():
                    archive.add(train / stage, stage)
        file.seek(0)
        print("malt: results begin")
        while piece := file.read(BYTES):
            print(base64.b64encode(piece).decode())
        print("malt: results end", flush=True)


def main() -> int:
    folder, stages = Path(sys.argv[1]).expanduser(), sys.argv[2:]
    folder.mkdir(parents=True, exist_ok=True)
    # The request to stop reaches the trainer, too; its results are still to be handed out.
    signal.signal(signal.SIGTERM, lambda *_: None)
    bring(Path.cwd(), folder)
    code = subprocess.Popen(["bash", str(folder / "job.sh")]).wait()
    print(flush=True)
    hand_out(folder / "train", stages)
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main())
