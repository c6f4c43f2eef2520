"""Grades cases with Math-Verify, the peer of `npm run bench -- grader` and of notebook 10. Scope: one process, one case at a time.

Reads {"id", "gold", "pred", "input": "raw" | "text"} lines on stdin; writes {"id", "equal", "ms"} lines. A bare answer is
given to its parser between dollar signs, as LaTeX; a text unchanged. Cases that it cannot read or finish count as not
equal.
"""

import json
import sys
import time

from math_verify import parse, verify

# Seconds for one parse and one comparison; its own default is 5.
LIMIT = 5


def dressed(answer: str, raw: bool) -> str:
    return answer if not raw or "$" in answer or "\\boxed" in answer else f"${answer}$"


def equal(gold: str, pred: str, raw: bool) -> bool:
    try:
        reference = parse(dressed(gold, raw), parsing_timeout=LIMIT)
        answer = parse(dressed(pred, raw), parsing_timeout=LIMIT)
        return bool(verify(reference, answer, timeout_seconds=LIMIT))
    except Exception:
        return False


def main() -> None:
    # Otherwise the time of the first case would include loading the grammars.
    equal("\\frac{1}{2}", "0.5", True)
    for line in sys.stdin:
        row = json.loads(line)
        start = time.perf_counter()
        verdict = equal(row["gold"], row["pred"], row.get("input", "raw") == "raw")
        ms = 1000 * (time.perf_counter() - start)
        print(json.dumps({"id": row["id"], "equal": verdict, "ms": round(ms, 3)}), flush=True)


if __name__ == "__main__":
    main()
