"""Runs work whose files were uploaded with a job (src/train/launchers/ray.ts), keeps its folder where the next job finds it, and
hands the results out at the end of the log.

    python job.py FOLDER WORK RESULT …      in the folder that was uploaded; WORK is the working folder in it

Scope: what lies around job.sh, which does the work. A checkpoint that an earlier job left in FOLDER is kept if it is further
than the one that was uploaded, and so is a journal; whether it belongs to the same work, its program checks.
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


def bring(uploaded: Path, folder: Path, work: str) -> None:
    """Copies what was uploaded, but no stage and no journal over one of the same work that is further."""
    for name in ("python", "model"):
        if (uploaded / name).exists():
            shutil.copytree(uploaded / name, folder / name, dirs_exist_ok=True)
    shutil.copy(uploaded / "job.sh", folder / "job.sh")
    (folder / work).mkdir(exist_ok=True)
    for path in (uploaded / work).iterdir():
        target = folder / work / path.name
        if not path.is_dir():
            shutil.copy(path, target)
        elif work != "train":
            shutil.copytree(path, target, dirs_exist_ok=True, copy_function=copy_longer)
        elif fingerprint(path) != fingerprint(target) or progress(path) > progress(target):
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(path, target)


def copy_longer(source: str, target: str) -> None:
    """Journals only grow."""
    if Path(source).parent.name == "journal" and Path(target).exists():
        if Path(target).stat().st_size >= Path(source).stat().st_size:
            return
    shutil.copy2(source, target)


def hand_out(work: Path, results: list[str]) -> None:
    """The results' folders as lines of text."""
    with tempfile.TemporaryFile() as file:
        with tarfile.open(fileobj=file, mode="w:gz", compresslevel=1) as archive:
            for result in results:
                if (work / result).is_dir():
                    archive.add(work / result, result)
        file.seek(0)
        print("malt: results begin")
        while piece := file.read(BYTES):
            print(base64.b64encode(piece).decode())
        print("malt: results end", flush=True)


def main() -> int:
    folder, work, results = Path(sys.argv[1]).expanduser(), sys.argv[2], sys.argv[3:]
    folder.mkdir(parents=True, exist_ok=True)
    # The request to stop reaches the program, too; its results are still to be handed out.
    signal.signal(signal.SIGTERM, lambda *_: None)
    bring(Path.cwd(), folder, work)
    code = subprocess.Popen(["bash", str(folder / "job.sh")]).wait()
    print(flush=True)
    hand_out(folder / work, results)
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main())
