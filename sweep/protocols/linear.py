"""Protocol ``linear``: logistic regression on frozen features; the budget chooses its strength."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, ClassVar, Literal

from ssl_sweep.ssl_core.config.probe import C_PATHS, ProbeConfig
from ssl_sweep.sweep.protocols.base import Asked, Budget, EvaluationProtocol, Features, Fitted, Key
from ssl_sweep.sweep.spec.columns import Column

# Multiply-adds for each label, width and class, over all strengths, folds and iterations: 640 to 1,500 were
# measured (docs/measurements.md).
_WORK, _STRENGTHS = 1_000, len(ProbeConfig().cs)
_SOFTMAX = 2.7  # float64 matrices of (labels, classes) at the peak of a fit; see docs/evaluation.md


@lru_cache(maxsize=1024)
def _config(path: str) -> ProbeConfig:
    return ProbeConfig(cs=C_PATHS[path])


class Linear(EvaluationProtocol[ProbeConfig]):
    """See ``ssl_core.evaluation.linear``."""

    name = "linear"
    about = "logistic regression on frozen features"
    config = ProbeConfig
    keys: ClassVar[Mapping[str, Key]] = {
        "c_path": Key(
            Literal["default", "simclr"],
            "Regularisation strengths from which a linear probe chooses: 7 (default), or the 45 of SimCLR's"
            " transfer protocol (simclr).",
            ("default",),
        )
    }
    columns = (Column("c_path", str, lambda f: f.c_path, of="linear", neutral="default"),)

    gpu = True

    def configs(self, given: Mapping[str, tuple[Any, ...]], asked: Asked) -> list[ProbeConfig]:
        return [_config(path) for path in given["c_path"]]

    def fit(self, config: ProbeConfig, features: Features, budget: Budget) -> Fitted:
        from ssl_sweep.ssl_core.evaluation.linear import LinearProbes

        probes = features.shared(
            self.name, lambda: LinearProbes(features.train, features.test, device=features.device)
        )
        fit = probes.fit(
            budget.rows,
            budget.labels,
            n_classes=budget.n_classes,
            seed=budget.seed,
            config=config,
            groups=budget.groups,
        )
        facts = {"C": fit.C, "converged": fit.converged, "n_iter": fit.n_iter}
        return Fitted(fit.top5, fit.missing_classes, facts, gpu=probes.device.startswith("cuda"))

    def memory(self, config: ProbeConfig, labels: int, classes: int) -> float:
        return _SOFTMAX * labels * classes * 8.0

    def effort(self, config: ProbeConfig) -> int:
        return len(config.cs)

    def multiply_adds(self, config: ProbeConfig, labels: int, width: int, classes: int) -> float:
        return labels * width * classes * max(1.0, _WORK * len(config.cs) / _STRENGTHS)


PROTOCOL = Linear()
