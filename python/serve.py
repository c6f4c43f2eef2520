"""Starts llama.cpp's OpenAI-compatible server on loopback for the one model it is given.

Scope: turn a few options into llama.cpp parameters, print on stdout where the server listens, and end with the parent.
It leaves out profiles, model files and health checks: src/models/embedded.ts knows those.

Protocol: one JSON line on stdout, {"url": ..., "version": ...} once the server answers on /health, or {"error": ...} before exit
code 1; llama.cpp's own log goes to stderr. The process ends when its stdin closes, also while it loads the model, so it
cannot outlive a parent that holds the other end, not even one that was killed with SIGKILL.
"""

import argparse
import json
import os
import sys
import urllib.request
from threading import Thread

# OpenMP threads spin while they wait. With as many threads as cores and any other busy process, the default spinning
# brings work almost to a standstill, so waiting threads go to sleep soon. OpenMP reads this once, when llama.cpp is
# loaded.
os.environ.setdefault("GOMP_SPINCOUNT", "2000")


def say(message: dict) -> None:
    print(json.dumps(message), flush=True)


def end_with_parent() -> None:
    while os.read(0, 4096):
        pass
    # llama.cpp's threads may still be decoding for a parent that is gone: exit without waiting for them.
    os._exit(0)


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--model", required=True, help="path of a GGUF file")
    options.add_argument("--alias", required=True, help="the model's name in /v1/models")
    options.add_argument("--port", type=int, default=0, help="0 picks a free one")
    options.add_argument("--parallel", type=int, default=4, help="requests decoded at the same time (slots)")
    options.add_argument("--context", type=int, default=2048, help="tokens of prompt and completion per slot")
    options.add_argument("--threads", type=int, default=2, help="compute threads, never more than there are cores")
    options.add_argument("--lora", action="append", default=[], help="path of a GGUF adapter; may be given several times")
    args = options.parse_args()
    watch = Thread(target=end_with_parent, daemon=True)
    watch.start()

    try:
        import xllamacpp
    except ImportError as error:
        say({"error": f"Python package xllamacpp cannot be loaded ({error}); run `npm run setup -- --force`"})
        return 1

    params = xllamacpp.CommonParams()
    params.model.path = args.model
    params.model_alias = {args.alias}
    params.hostnames = ["127.0.0.1"]
    params.port = args.port
    params.n_parallel = args.parallel
    params.n_ctx = args.context * args.parallel
    params.cpuparams.n_threads = args.threads
    params.cpuparams_batch.n_threads = args.threads
    params.n_threads_http = 2 * args.parallel + 2
    params.cont_batching = True
    params.cache_prompt = True
    # Prompts kept beside those in the slots, MiB. Its default of 8 GiB fills up in a long evaluation and is no faster.
    params.cache_ram_mib = 512
    params.endpoint_metrics = True
    # Requests choose among them by index; a request that names none gets all of them at scale 1, so src/policy/ always
    # names them.
    params.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(path, 1.0) for path in args.lora]
    params.ui = False
    # Loopback is reachable from any web page in the user's browser: no page may read an answer.
    params.cors_origins = "http://127.0.0.1"
    # The OpenAI API has no top_k, min_p or repetition penalty. llama.cpp's defaults for them would cut the distribution
    # silently, so they are switched off: a request then has the same meaning here as on vLLM.
    params.sampling.top_k = 0
    params.sampling.min_p = 0.0
    params.sampling.top_p = 1.0
    params.sampling.temp = 1.0
    params.sampling.penalty_repeat = 1.0

    try:
        server = xllamacpp.Server(params)
        # Directly to loopback, ignoring any proxy in the environment.
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        direct.open(f"{server.listening_address}/health", timeout=30).close()
    except (RuntimeError, OSError) as error:
        say({"error": str(error)})
        return 1
    say({"url": server.listening_address, "version": xllamacpp.__version__})
    watch.join()
    return 0


if __name__ == "__main__":
    sys.exit(main())
