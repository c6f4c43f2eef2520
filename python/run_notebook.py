"""Runs notebooks through the real Jupyter kernel and fails when a cell fails.

Scope: execute, judge, fill in execution counts, write the executed copy. It leaves out conversion (nbconvert does it).

The tslab kernel never emits an `error` output: it prints a thrown error or a type error to stderr and answers the cell
with status "error"; cells waiting behind it are dropped with status "abort"; an error outside the cell's own await
(an un-awaited promise, a timer) is only printed, often too late for the cell that caused it. So a cell has failed if

- the reply's status is not "ok", or
- an uncaught exception or unhandled rejection occurred in the kernel while the cell or the turn of the event loop after
  it ran: hidden cells, which the notebook does not keep, register a listener first and ask it after each cell, or
- the kernel died (process.exit), or the cell or the notebook exceeded its time limit.

Anything on stderr of a cell that has not failed, such as console.warn, is output.

SIGINT, SIGTERM, SIGHUP and the end of the parent process end the kernels, then this process with 128 + the signal's number.
Kernels end by themselves if this process is killed.
"""

import argparse
import asyncio
import os
import signal
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from visible import visible

KERNEL = "tslab"
LISTEN = """(globalThis as any).strayErrors = [];
for (const event of ["uncaughtException", "unhandledRejection"]) {
  process.on(event as any, (error: unknown) => (globalThis as any).strayErrors.push(error));
}
for (const parent of [process.ppid])
  setInterval(() => { if (process.ppid !== parent) process.exit(1); }, 500).unref();"""
REPORT = "for (const error of (globalThis as any).strayErrors.splice(0)) console.error(error);"
TURN = f"await new Promise((resolve) => setTimeout(resolve, 5));\n{REPORT}"
# After the last cell: until none of the notebook's timers is left, at most 2 s.
DRAIN = f"""for (let waited = 0; waited < 2000; waited += 20) {{
  await new Promise((resolve) => setTimeout(resolve, 20));
  if (!process.getActiveResourcesInfo().includes("Timeout")) break;
}}
{REPORT}"""


class CellFailure(Exception):
    """A cell failed; the message says why, `stderr` is what the kernel printed, `cell` its place in the notebook."""

    def __init__(self, reason: str, stderr: str = "", cell: int | None = None):
        super().__init__(reason)
        self.stderr = stderr
        self.cell = cell


def say(text: str) -> None:
    print(visible(text), flush=True)


def stderr_of(cell) -> str:
    return "".join(o.text for o in cell.outputs if o.output_type == "stream" and o.name == "stderr")


class Runner:
    """Executes one notebook cell by cell, in memory."""

    def __init__(self, notebook, cwd: Path, cell_seconds: float, seconds: float):
        self.notebook = notebook
        self.deadline = time.monotonic() + seconds
        self.cell_seconds = cell_seconds
        self.seconds = seconds
        self.status = "ok"
        self.client = NotebookClient(
            notebook,
            kernel_name=KERNEL,
            resources={"metadata": {"path": str(cwd)}},
            allow_errors=True,  # the verdict is formed here, from status and stderr
            record_timing=False,  # timestamps would make every execution another file
            coalesce_streams=True,
            raise_on_iopub_timeout=True,
            on_cell_executed=self._remember,
        )

    def _remember(self, cell, cell_index, execute_reply):
        self.status = execute_reply["content"]["status"]

    async def _execute(self, cell, index: int, count: int | None):
        left = self.deadline - time.monotonic()
        limit = min(self.cell_seconds, left)
        if limit <= 0:
            raise CellFailure(f"the notebook ran past its limit of {self.seconds:g} s")
        self.client.timeout = max(1, int(limit))
        try:
            await self.client.async_execute_cell(cell, index, execution_count=count)
        except CellTimeoutError:
            whose = "the notebook" if left < self.cell_seconds else "the cell"
            raise CellFailure(f"{whose} ran past its limit of {min(self.cell_seconds, self.seconds):g} s") from None
        except DeadKernelError:
            raise CellFailure("the kernel died (process.exit, out of memory or a crash)", stderr_of(cell)) from None
        if self.status != "ok":
            raise CellFailure(f"the kernel answered with status {self.status!r}", stderr_of(cell))

    async def _hidden(self, source: str):
        """Executes a cell that the notebook does not keep; whatever it prints to stderr is a stray error."""
        cells = self.notebook.cells
        hidden = nbformat.v4.new_code_cell(source)
        cells.append(hidden)
        try:
            await self._execute(hidden, len(cells) - 1, None)
        finally:
            cells.pop()
        if stderr_of(hidden):
            raise CellFailure("an error was thrown outside the cell's own await", stderr_of(hidden))

    async def run(self, progress):
        """Executes all cells; raises CellFailure at the first that fails, after `progress(index, seconds, failure)`."""
        code = [(i, c) for i, c in enumerate(self.notebook.cells) if c.cell_type == "code" and c.source.strip()]
        for cell in self.notebook.cells:
            if cell.cell_type == "code":
                cell.outputs, cell.execution_count = [], None
        async with self.client.async_setup_kernel():
            try:
                await self._hidden(LISTEN)
                for count, (index, cell) in enumerate(code, start=1):
                    start = time.monotonic()
                    failure = None
                    try:
                        await self._execute(cell, index, count)
                        await self._hidden(DRAIN if count == len(code) else TURN)
                    except CellFailure as error:
                        failure = CellFailure(str(error), error.stderr, index)
                    progress(count, len(code), cell, time.monotonic() - start, failure)
                    if failure:
                        raise failure
            except asyncio.CancelledError:
                # A kernel at work would not hear a request to end.
                self.client.shutdown_kernel = "immediate"
                raise


def write(notebook, path: Path):
    """Writes the executed notebook so that an interrupted write leaves the old file whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".ipynb.tmp")
    nbformat.write(notebook, temporary)
    os.replace(temporary, path)


async def run_file(path: Path, args) -> bool:
    """Runs one notebook file and reports on stdout; True if every cell passed."""
    start = time.monotonic()
    say(f"{path}: starting the kernel")
    try:
        notebook = nbformat.read(path, as_version=4)
    except Exception as error:
        say(f"FAILED {path}: not a notebook ({error})")
        return False

    def progress(count, total, cell, seconds, failure):
        first = cell.source.strip().splitlines()[0][:80]
        place = f"{path.stem} " if args.jobs > 1 else ""
        say(f"  {place}[{count}/{total}] {'FAILED' if failure else 'ok'} {seconds:.1f} s  {first}")

    cwd = Path(args.cwd) if args.cwd else path.parent
    runner = Runner(notebook, cwd.resolve(), args.cell_timeout, args.timeout)
    failure = None
    try:
        await runner.run(progress)
    except CellFailure as error:
        failure = error
    except Exception as error:  # the kernel did not start, or nbclient itself failed
        failure = CellFailure(f"{type(error).__name__}: {error}")
    if args.in_place and failure is None:
        write(notebook, path)
    elif args.out:
        write(notebook, Path(args.out) / path.name)
    seconds = time.monotonic() - start
    if failure is None:
        say(f"passed {path} ({seconds:.1f} s)")
        return True
    where = "" if failure.cell is None else f", cell {failure.cell + 1} of {len(notebook.cells)}"
    say(f"FAILED {path}{where}: {failure} ({seconds:.1f} s)")
    if failure.stderr.strip():
        say("\n".join(f"    {line}" for line in failure.stderr.strip().splitlines()[:30]))
    return False


class Stopped(Exception):
    """A signal, or the end of the parent process, has stopped the run; its kernels have ended."""


async def stoppable(work):
    """Awaits work that a signal cancels, so that it can end what it has started."""
    loop, task, parent = asyncio.get_running_loop(), asyncio.ensure_future(work), os.getppid()
    number = None

    def stop(got, _frame=None):
        nonlocal number
        if number is None:
            number = got
            loop.call_soon_threadsafe(task.cancel)

    # nbclient would give each signal to one notebook alone.
    loop.add_signal_handler = loop.remove_signal_handler = lambda *_: False
    hang_up = getattr(signal, "SIGHUP", signal.SIGTERM)
    for each in {signal.SIGINT, signal.SIGTERM, hang_up}:
        signal.signal(each, stop)
    while not task.done():
        await asyncio.wait([task], timeout=0.5)
        if os.getppid() != parent:
            stop(hang_up)
    if number is not None:
        raise Stopped(number)
    return task.result()


async def run_files(args) -> bool:
    """Runs all notebooks, `args.jobs` at a time; True if all passed."""
    places = asyncio.Semaphore(args.jobs)

    async def run(path):
        async with places:
            return await run_file(path, args)

    return all(await asyncio.gather(*map(run, args.notebooks)))


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("notebooks", nargs="+", type=Path, metavar="NOTEBOOK.ipynb")
    target = options.add_mutually_exclusive_group()
    target.add_argument("--out", metavar="DIR", help="write executed copies there, also of a failed one")
    target.add_argument("--in-place", action="store_true", help="write a passed notebook over itself")
    options.add_argument("--cwd", metavar="DIR", help="the kernel's folder (default: the notebook's)")
    options.add_argument("--cell-timeout", type=float, default=300, metavar="SECONDS", help="default 300")
    options.add_argument("--timeout", type=float, default=900, metavar="SECONDS", help="per notebook, default 900")
    options.add_argument("--jobs", type=int, default=1, help="notebooks executed at the same time, default 1")
    args = options.parse_args()
    try:
        return 0 if asyncio.run(stoppable(run_files(args))) else 1
    except Stopped as stopped:
        return 128 + stopped.args[0]


if __name__ == "__main__":
    sys.exit(main())
