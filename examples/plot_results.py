"""Draw a sweep's results: top-1 against label budget, one panel per evaluation domain.

    ssl-sweep results examples/quickstart.yaml --format parquet -o results.parquet
    python examples/plot_results.py results.parquet results.png

A line is one pretraining, the mean over its seeds; the band spans pretraining seeds (min to max) if there
are several. The finest label level; budgets on a log axis.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import click
import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import pyarrow.parquet as pq

FLOOR = "#555555"


def name(row: dict[str, object]) -> str:
    """The pretraining in the legend."""
    if row["method"] == "random":
        return "random encoder"
    corruption = "" if row["corruption"] == "none" else f", {row['corruption']}"
    return f"{row['method']}: {row['images']} {row['pretrain_domain']}{corruption}"


@click.command(help=__doc__)
@click.argument("results", type=click.Path(exists=True, path_type=Path))
@click.argument("output", type=click.Path(path_type=Path))
def main(results: Path, output: Path) -> None:
    rows = [
        row
        for row in pq.read_table(results).to_pylist()
        if row["status"] == "complete" and row["level_index"] == 0
    ]
    domains = sorted({str(row["eval_domain"]) for row in rows})
    names = sorted({name(row) for row in rows}, key=lambda text: (text == "random encoder", text))
    colours = dict(zip(names, plt.get_cmap("tab10").colors, strict=False)) | {"random encoder": FLOOR}
    figure, axes = plt.subplots(1, len(domains), figsize=(4 * len(domains), 3.8), squeeze=False)
    for axis, domain in zip(axes[0], domains, strict=True):
        for label in names:
            points: dict[int, dict[object, list[float]]] = defaultdict(lambda: defaultdict(list))
            for row in rows:
                if row["eval_domain"] == domain and name(row) == label:
                    seed = (row["pretrain_seed"], row["subset_seed"])
                    points[int(str(row["n_labels"]))][seed].append(100 * float(str(row["top1"])))
            if not points:
                continue
            budgets = sorted(points)
            by_seed = [[sum(v) / len(v) for v in points[b].values()] for b in budgets]
            means = [sum(values) / len(values) for values in by_seed]
            style = {"color": colours[label], "linestyle": "--" if label == "random encoder" else "-"}
            axis.plot(budgets, means, marker="o", markersize=4, label=label, **style)
            if any(len(values) > 1 for values in by_seed):
                low, high = [min(v) for v in by_seed], [max(v) for v in by_seed]
                axis.fill_between(budgets, low, high, color=colours[label], alpha=0.15, linewidth=0)
        axis.set_xscale("log")
        axis.set_xticks(sorted({int(str(r["n_labels"])) for r in rows if r["eval_domain"] == domain}))
        axis.get_xaxis().set_major_formatter(matplotlib.ticker.ScalarFormatter())
        axis.minorticks_off()
        axis.set_title(f"evaluated on {domain}")
        axis.set_xlabel("labelled images")
        axis.grid(alpha=0.3)
    axes[0][0].set_ylabel("linear probe, top-1 %")
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=min(3, len(labels)), frameon=False, fontsize=9)
    figure.tight_layout(rect=(0, 0.06 + 0.05 * ((len(labels) + 2) // 3), 1, 1))
    figure.savefig(output, dpi=110)
    click.echo(f"wrote {output}")


if __name__ == "__main__":
    main()
