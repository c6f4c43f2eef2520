"""Several processes, one for each GPU, that train a stage together (torchrun, data parallel).

Scope: starting and stopping them, and what a process must know of the others. It leaves out training (train.py), several
machines, and models that do not fit on one GPU. `torchrun` or `accelerate launch` with train.py works by hand, too.

The batch of a step is the same as in one process: each takes its share of it. Only the last batch of an epoch is filled up
where its rows cannot be shared evenly.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from stage import Refused


class Here:
    """This process among those that train together; alone it is the first of one."""

    def __init__(self):
        self.size = int(os.environ.get("WORLD_SIZE", "1"))
        self.first = int(os.environ.get("RANK", "0")) == 0

    def share_batch(self, keys: dict) -> None:
        """
        Divides the examples of a step among the processes; changes the two keys of TRL that say how many each takes.
        @raises Refused if that cannot be done
        """
        if self.size == 1:
            return
        at_once, times = keys["per_device_train_batch_size"], keys["gradient_accumulation_steps"]
        share, rest = divmod(at_once * times, self.size)
        if rest:
            raise Refused(f"a batch of {at_once * times} cannot be shared by {self.size} processes; choose a divisor of it")
        at_once = max(n for n in range(1, min(at_once, share) + 1) if share % n == 0)
        keys.update(per_device_train_batch_size=at_once, gradient_accumulation_steps=share // at_once)

    def any(self, value: bool) -> bool:
        """Whether it is true in one of the processes; all of them have to ask at the same place."""
        if self.size == 1:
            return value
        import torch
        from accelerate import PartialState

        sum_of_all = torch.tensor(int(value), device=PartialState().device)
        torch.distributed.all_reduce(sum_of_all)
        return bool(sum_of_all.item())

    def wait(self) -> None:
        """Until all processes have come here."""
        self.any(False)


here = Here()


def in_processes(count: int, arguments: list[str], stopped: int) -> int:
    """
    Runs train.py in `count` processes and passes on what they say. They stop, as at SIGTERM, when their stdin closes: when
    this process is asked to stop, and however it ends.
    @param stopped: the exit code of a training that was stopped
    """
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"]
    command = [sys.executable, *torchrun, str(Path(__file__).with_name("train.py")), "--tied", *arguments]
    threads = str(max(1, (os.cpu_count() or 1) // count))
    env = {**os.environ, "OMP_NUM_THREADS": threads}
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True, env=env)
    asked = False

    def stop(*_):
        nonlocal asked
        asked = True
        child.stdin.close()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    ended, stage = None, ""
    for line in child.stdout:
        try:
            event = json.loads(line)
        except ValueError:
            print(line, end="", file=sys.stderr, flush=True)
            continue
        stage = event.get("stage", stage)
        # One that fails brings the others to fail: the first one's reason is the one to know.
        if ended:
            continue
        ended = event.get("state") if event.get("event") == "end" else None
        print(line, end="", flush=True)
    child.wait()
    if not ended:
        state = {"state": "stopped"} if asked else {"state": "failed", "error": "one of its processes was killed"}
        print(json.dumps({"event": "end", "stage": stage, **state}), flush=True)
    return {"done": 0, "stopped": stopped}.get(ended or state["state"], 1)
