"""The peer of `npm run bench -- sampler`: the same trees, requested with asyncio and the openai package in the
straightforward way.

Reads one job as JSON on stdin: {"base_url", "model", "plan", "width", "branching", "max_tokens", "seed", "templates": {role:
text with {question}, {answer}, {critique}}, "questions": [{"id", "question"}]}; writes {"cpu_seconds"}, those of the sampling
alone. Plans: "stage", all generators, then all verifiers, then all refiners; "question", the same inside each
question, `width` questions at a time; "request", every tree by itself, `width` requests at a time. The seeds are the ones
malt sends, so the server gives exactly the same answers.
"""

import asyncio
import hashlib
import json
import resource
import sys
from contextlib import nullcontext

from openai import AsyncOpenAI

job = json.load(sys.stdin)
client = AsyncOpenAI(base_url=job["base_url"], api_key="none")
limit = asyncio.Semaphore(job["width"])


def seed(question, parent, role):
    identity = json.dumps([job["seed"], question["id"], parent, role], separators=(",", ":"))
    return int.from_bytes(hashlib.sha256(identity.encode()).digest()[:4], "big") % (2**31 - 2**10)


async def ask(question, parent, role, answer="", critique=""):
    """The texts of one request, with the node ids of the completions."""
    content = job["templates"][role].replace("{question}", question["question"])
    content = content.replace("{answer}", answer).replace("{critique}", critique)
    async with nullcontext() if job["plan"] == "question" else limit:
        completion = await client.chat.completions.create(
            model=job["model"],
            messages=[{"role": "user", "content": content}],
            n=job["branching"],
            seed=seed(question, parent, role),
            temperature=0.3,
            max_tokens=job["max_tokens"],
        )
    before = "" if parent is None else f"{parent}."
    return [(f"{before}{role[0]}{choice.index}", choice.message.content) for choice in completion.choices]


async def stages(questions):
    answers = await asyncio.gather(*(ask(q, None, "generator") for q in questions))
    verify = [(q, node, answer) for q, texts in zip(questions, answers) for node, answer in texts]
    critiques = await asyncio.gather(*(ask(q, node, "verifier", answer) for q, node, answer in verify))
    refine = [(q, node, a, critique) for (q, _, a), texts in zip(verify, critiques) for node, critique in texts]
    await asyncio.gather(*(ask(q, node, "refiner", answer, critique) for q, node, answer, critique in refine))


async def question_by_itself(question):
    async with limit:
        await stages([question])


async def tree(question):
    async def critiques(node, answer):
        texts = await ask(question, node, "verifier", answer)
        await asyncio.gather(*(ask(question, critic, "refiner", answer, critique) for critic, critique in texts))

    answers = await ask(question, None, "generator")
    await asyncio.gather(*(critiques(node, answer) for node, answer in answers))


def cpu_seconds():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def main():
    questions = job["questions"]
    used = cpu_seconds()
    if job["plan"] == "stage":
        await stages(questions)
    else:
        whole = question_by_itself if job["plan"] == "question" else tree
        await asyncio.gather(*(whole(question) for question in questions))
    print(json.dumps({"cpu_seconds": cpu_seconds() - used}))


asyncio.run(main())
