"""Samples a run as Ray tasks, one shard each, then merges the shards and exports the run.

    python scripts/cluster/ray_sample.py --run my-run --shards 4 --model NAME --questions FILE --gpus 1

The repository must be on a file system that all nodes share. Without --base-url each task starts its own server. If a
task is interrupted (its process or its node fails), it starts again on any node and sampling continues where it
stopped. If the whole run failed, the same command continues it. Everything after `--` is passed to `malt sample`.
"""

import argparse
import contextlib
import os
import shlex
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import ray

ROOT = Path(__file__).resolve().parents[2]
# The program that npx would run, called directly: npx might not pass signals on.
MALT = os.environ.get("MALT", "node_modules/.bin/malt")


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", required=True, help="name of the run")
    parser.add_argument("--shards", type=int, required=True, help="how many tasks share the questions")
    parser.add_argument("--questions", required=True, help="question file, as for malt sample")
    parser.add_argument("--model", required=True, help="served model name")
    parser.add_argument("--base-url", help="a server that is up already, for all tasks (default: one for each task)")
    parser.add_argument("--serve", help='command of that server (default: "vllm serve MODEL --enable-prefix-caching")')
    parser.add_argument("--cpus", type=float, default=1, help="CPUs of a task (default: 1)")
    parser.add_argument("--gpus", type=float, default=0, help="GPUs of a task (default: 0)")
    parser.add_argument("--retries", type=int, default=3, help="how often a task may start again (default: 3)")
    parser.add_argument("flags", nargs="*", help="after --: further flags of malt sample, such as --temperature 0.7")
    return parser.parse_args()


def tied(signal: str, command: list[str]) -> list[str]:
    """A command that gets a signal when this process ends, however it ends."""
    return ["setpriv", "--pdeathsig", signal, *command] if shutil.which("setpriv") else command


@contextlib.contextmanager
def own_server(command: str):
    """Runs a server on a free port of this node as long as it is needed."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(tied("TERM", [*shlex.split(command), "--host", "127.0.0.1", "--port", str(port)]))
    try:
        while True:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/health"):
                break
            if process.poll() is not None:
                raise RuntimeError(f"the server has ended before it was ready: {command}")
            time.sleep(1)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait()


@ray.remote(max_retries=0)  # main() restarts it, and passes that on
def sample(shard: int, args: argparse.Namespace, outputs: str, crashed: bool) -> None:
    if crashed and shutil.which("setpriv"):
        # The holder of the lock is dead, perhaps together with its node, where malt could not detect that.
        (ROOT / outputs / "runs" / f"{args.run}.shard-{shard}-of-{args.shards}" / "lock").unlink(missing_ok=True)
    serve = args.serve or shlex.join(["vllm", "serve", args.model, "--enable-prefix-caching"])
    with contextlib.nullcontext(args.base_url) if args.base_url else own_server(serve) as url:
        command = ["sample", "--run", args.run, "--shard", f"{shard}/{args.shards}", "--questions", args.questions]
        command = [*shlex.split(MALT), *command, "--model", args.model, "--base-url", url, *args.flags]
        subprocess.run(tied("KILL", command), cwd=ROOT, env={**os.environ, "MALT_OUTPUTS": outputs}, check=True)


def verdict(error: Exception) -> tuple[str, bool]:
    """Why a task failed, and whether malt or its node was killed, so that it ended without a message."""
    cause = getattr(error, "cause", None)
    if isinstance(cause, subprocess.CalledProcessError):
        return f"malt ended with {cause.returncode}", not 0 < cause.returncode < 128
    return str(error).strip().splitlines()[-1], not isinstance(error, ray.exceptions.RayTaskError)


def main() -> None:
    args = options()
    outputs = os.environ.get("MALT_OUTPUTS") or "outputs"
    ray.init()
    task = sample.options(num_cpus=args.cpus, num_gpus=args.gpus)
    running = {task.remote(shard, args, outputs, False): (shard, 1) for shard in range(1, args.shards + 1)}
    failed = []
    while running:
        [ended], _ = ray.wait(list(running), num_returns=1)
        shard, attempt = running.pop(ended)
        try:
            ray.get(ended)
        except ray.exceptions.RayError as error:
            reason, crashed = verdict(error)
            print(f"shard {shard}, attempt {attempt}: {reason}", file=sys.stderr)
            if attempt > args.retries:
                failed.append(shard)
            else:
                running[task.remote(shard, args, outputs, crashed)] = (shard, attempt + 1)
    if failed:
        sys.exit(f"shards {sorted(failed)} of {args.shards} failed; run the same command again to go on")
    for command in ("merge", "export"):
        subprocess.run([*shlex.split(MALT), command, "--run", args.run], cwd=ROOT, check=True)


if __name__ == "__main__":
    main()
