"""Protocol ``knn``: votes of the nearest labelled images by cosine similarity of frozen features."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from itertools import product
from typing import Annotated, Any, ClassVar

from pydantic import Field

from ssl_sweep.data_ops.sources.options import MOST_IMAGES
from ssl_sweep.ssl_core.config.probe import MIN_TEMPERATURE, KnnConfig
from ssl_sweep.sweep.protocols.base import Asked, Budget, EvaluationProtocol, Features, Fitted, Key
from ssl_sweep.sweep.spec.columns import Column


@lru_cache(maxsize=1024, typed=True)
def _config(k: int, temperature: float) -> KnnConfig:
    return KnnConfig(k=k, temperature=temperature)


class Knn(EvaluationProtocol[KnnConfig]):
    """See ``ssl_core.evaluation.knn``."""

    name = "knn"
    about = "votes of the nearest labelled images"
    config = KnnConfig
    keys: ClassVar[Mapping[str, Key]] = {
        "knn_k": Key(
            Annotated[int, Field(ge=1, le=MOST_IMAGES)], "Number of neighbours that vote. Default: 200."
        ),
        "knn_temperature": Key(
            Annotated[float, Field(ge=MIN_TEMPERATURE, allow_inf_nan=False)],
            "Temperature of the neighbours' votes, at least 0.005. Default: 0.1.",
        ),
    }
    columns = (
        Column("knn_k", int, lambda f: f.k, of="knn"),
        Column("knn_temperature", float, lambda f: f.temperature, of="knn"),
    )

    def configs(self, given: Mapping[str, tuple[Any, ...]], asked: Asked) -> list[KnnConfig]:
        ks, temperatures = given["knn_k"] or (KnnConfig.k,), given["knn_temperature"]
        return [_config(*both) for both in product(ks, temperatures or (KnnConfig.temperature,))]

    def fit(self, config: KnnConfig, features: Features, budget: Budget) -> Fitted:
        from ssl_sweep.ssl_core.evaluation.knn import fit_knn

        fit = fit_knn(
            features.train,
            budget.labels,
            features.test,
            n_classes=budget.n_classes,
            config=config,
            rows=budget.rows,
        )
        return Fitted(fit.top5, fit.missing_classes, {"k": fit.k})


PROTOCOL = Knn()
