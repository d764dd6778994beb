"""What `limpid bench worker` speaks, for the programs that it is compared with.

A line of JSON on standard input asks for a sample; a line on standard output answers with
seconds for each unit of work (a picture, a blur, a gradient), or with an error. What a request
needs is prepared and warmed up the first time, and kept until a request names another model,
work or batch.
"""

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Request = dict[str, Any]


@dataclass
class Prepared:
    """Something that can be run again, and how many units of work a run does."""

    run: Callable[[], Any]
    units: int


def pictures(request: Request) -> np.ndarray:
    """The pictures of a request, `[batch, 3, side, side]`."""
    batch, side = request.get("batch", 1), request.get("side") or 224
    count = batch * 3 * side * side
    values = np.fromfile(request["input"], "<f4", count)
    return values.reshape(batch, 3, side, side)


def serve(prepare: Callable[[Request], Prepared]) -> None:
    """Answers requests until standard input ends."""
    out, sys.stdout = sys.stdout, sys.stderr
    kept: list[tuple[Request, Prepared]] = []
    for line in sys.stdin:
        try:
            request = json.loads(line)
            kept = [k for k in kept if _group(k[0]) == _group(request)]
            answer = _sample(prepare, kept, request)
        except Exception as error:  # whatever a library raises is the answer
            answer = {"error": f"{type(error).__name__}: {error}".splitlines()[0]}
        print(json.dumps(answer), file=out, flush=True)


def _group(request: Request) -> list[Any]:
    """What requests that are made in turn have in common."""
    return [request.get(key) for key in ("model", "work", "batch")]


def _sample(
    prepare: Callable[[Request], Prepared], kept: list[tuple[Request, Prepared]], request: Request
) -> dict[str, Any]:
    prepared = next((p for r, p in kept if r == request), None)
    if prepared is None:
        prepared = prepare(request)
        result = prepared.run()
        if "output" in request:
            np.asarray(result, "<f4").tofile(request["output"])
        kept.append((request, prepared))
    least, runs = request.get("least", 0.0), 0
    start = time.perf_counter()
    while True:
        prepared.run()
        runs += 1
        seconds = time.perf_counter() - start
        if seconds >= least:
            return {"seconds": seconds / (runs * prepared.units), "runs": runs}
