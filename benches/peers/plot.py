#!/usr/bin/env python3
"""Cost against batch, threads and side of the picture.

usage: plot.py OUT.svg FILE.json...

The files are what `limpid bench model --json` prints; those of one model are drawn together, on
the left the pictures of the model's size, on the right batch 8.
"""

import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams["svg.hashsalt"] = "limpid"

from matplotlib import pyplot  # noqa: E402
from matplotlib.axes import Axes  # noqa: E402

Point = dict[str, Any]
COLOURS = ["tab:blue", "tab:orange", "tab:green", "tab:red"]


def draw(axes: Axes, points: list[Point], x: str) -> None:
    """A line for each number of threads and each work."""
    for colour, threads in zip(COLOURS, sorted({p["threads"] for p in points})):
        for work, style in [("forward", "--"), ("gradient", "-")]:
            figures = {p[x]: p[work] for p in points if p["threads"] == threads}
            at = sorted(figures)
            line = [figures[a] for a in at]
            label = f"{work}, {threads} thread" + ("s" if threads > 1 else "")
            axes.plot(at, [f["median"] for f in line], style, color=colour, marker="o", ms=3, label=label)
            axes.fill_between(at, [f["min"] for f in line], [f["max"] for f in line], color=colour, alpha=0.15)
    axes.set_xlabel(x)
    axes.set_ylabel("ms a picture")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)


def main() -> None:
    models: dict[str, list[Point]] = defaultdict(list)
    for file in sys.argv[2:]:
        report = json.loads(Path(file).read_text())
        for point in report["points"]:
            if point["skipped"] is None:
                models[Path(report["model"]).name].append({**point, "side in pixels": point["input"][1]})
    figure, rows = pyplot.subplots(len(models), 2, figsize=(9, 3.4 * len(models)), squeeze=False)
    for (name, points), (left, right) in zip(models.items(), rows):
        own = [p for p in points if p["side in pixels"] == 224]
        draw(left, own, "batch")
        left.set_xscale("log", base=2)
        left.xaxis.set_major_formatter(lambda batch, _: f"{batch:g}")
        left.set_title(f"{name}, 224 x 224")
        draw(right, [p for p in points if p["batch"] == 8], "side in pixels")
        right.set_title(f"{name}, batch 8")
    rows[0][0].legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(sys.argv[1], metadata={"Date": None})


if __name__ == "__main__":
    main()
