"""Runs a cell in a real tslab kernel and interrupts it, as JupyterLab's stop button does; says what the kernel did.

Usage: interrupt.py CELL URL. The cell is interrupted once the page at URL says "now". Prints one JSON object.
"""

import json
import sys
import time
import urllib.request

from jupyter_client import KernelManager


def wait_for(url: str) -> None:
    for _ in range(600):
        if urllib.request.urlopen(url, timeout=5).read() == b"now":
            return
        time.sleep(0.1)
    raise TimeoutError(f"{url} never said now")


def main(cell: str, url: str) -> None:
    kernel = KernelManager(kernel_name="tslab")
    kernel.start_kernel(cwd="test")
    client = kernel.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=60)
        client.execute(cell)
        wait_for(url)
        kernel.interrupt_kernel()
        reply = client.get_shell_msg(timeout=60)
        while reply["msg_type"] != "execute_reply":
            reply = client.get_shell_msg(timeout=60)
        stopped = reply["content"]["status"]
        # tslab drops cells that arrive within 200 ms of an error.
        time.sleep(1)
        # What the cell had begun ends a moment after the cell: give it the time of another one.
        client.execute("await new Promise((resolve) => setTimeout(resolve, 500));", reply=True, timeout=60)
        alive = client.execute("1 + 1", reply=True, timeout=60)["content"]["status"]
        print(json.dumps({"stopped": stopped, "alive": alive}))
    finally:
        client.stop_channels()
        kernel.shutdown_kernel(now=True)


main(*sys.argv[1:])
