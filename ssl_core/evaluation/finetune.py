"""Fine-tuning end to end on a label budget, from a pretrained encoder or, from scratch, from a random one.

Both have the same recipe, so that a difference comes from the pretraining. The learning rate is chosen inside
the budget. Test labels are never used here.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_sweep.data_ops.hashing import derive_seed
from ssl_sweep.data_ops.images import ImageArray
from ssl_sweep.data_ops.views.backend import ViewBackend, choose_views
from ssl_sweep.data_ops.views.loader import ViewLoader
from ssl_sweep.data_ops.views.torch_views import pixels_to_input
from ssl_sweep.ssl_core.config.finetune import FinetuneConfig
from ssl_sweep.ssl_core.encoders.base import Encoder
from ssl_sweep.ssl_core.encoders.build import torch_seed
from ssl_sweep.ssl_core.evaluation.finetune_state import FinetuneState, identity_of
from ssl_sweep.ssl_core.evaluation.folds import folds_of
from ssl_sweep.ssl_core.evaluation.metrics import TOP, rank_classes
from ssl_sweep.ssl_core.training.memory import checkpoint_blocks, finetune_memory_guard
from ssl_sweep.ssl_core.training.optim import LARS, fast_bfloat16, learning_rate_at
from ssl_sweep.ssl_core.training.trainer import DivergedError, Interrupted

Ints = npt.NDArray[np.int64]
Split = tuple[Ints, Ints]  # positions in the label budget to train on, and to judge by

_EVAL_BATCH = 512
_LOOK_EVERY_S = 0.5  # how often `stop` is called
_CHECK_EVERY = 20  # steps between looks at the loss, since each look waits for the GPU


@dataclass(frozen=True, kw_only=True)
class LabelBudget:
    """The n images whose labels may be used."""

    images: ImageArray
    """(N, S, S, 3) uint8."""
    keys: npt.NDArray[np.uint64]
    """(n,), distinct; they seed the augmentation."""
    labels: Ints
    """(n,)."""
    rows: Ints | None = None
    """Positions (n,) in ``images``; None: all, in order."""
    groups: Ints | None = None
    """(n,): images of one group are judged together; -1 is no group."""


@dataclass(frozen=True, kw_only=True)
class FinetuneFit:
    """Result of a fine-tuning."""

    top5: Ints
    """(n_test, 5): class ids, best first, -1 beyond the classes of the label budget."""
    learning_rate: float
    """The base rate of the final fit."""
    converged: bool
    """Whether the final fit used the best rate: it did not diverge."""
    steps: int
    """Loss of the final fit."""
    held_out: tuple[float, ...]
    """Share of held-out images that each rate got right; NaN if it diverged. Empty if the rate was fixed."""
    missing_classes: tuple[int, ...]
    """Classes without a label."""
    precision: str
    """What the network trained in."""
    seconds: float
    """Also of interrupted parts, up to their last checkpoint."""


@dataclass(frozen=True, kw_only=True)
class Supervision:
    """How the caller of a fine-tuning follows it, stops it and keeps its checkpoints."""

    progress: Callable[[int, int], None] = lambda done, total: None
    """Called with the steps that are done and those of all fits together."""
    stop: Callable[[], bool] = lambda: False
    """Whether to stop; called about twice a second."""
    folder: Path | None = None
    """Where the checkpoint is. It is saved regularly and at a stop, and stays after the end: the caller
    removes it once the result is saved. None: a stop loses everything."""
    checkpoint_every_s: float = 30.0
    """Seconds between checkpoints."""
    kept: Callable[[], None] = lambda: None
    """Called after a checkpoint was saved."""


UNWATCHED = Supervision()


def finetune(
    encoder: Encoder,
    budget: LabelBudget,
    test_images: ImageArray,
    *,
    n_classes: int,
    seed: int,
    config: FinetuneConfig,
    device: str = "cpu",
    backend: Literal["auto", "torch", "dali"] = "auto",
    activation_checkpointing: bool = False,
    watched: Supervision = UNWATCHED,
) -> FinetuneFit:
    """Train a copy of ``encoder`` and a linear classifier on a label budget, and rank the classes of the test
    images, without augmentation.

    The rate is the one of ``config.learning_rates`` with the most correct predictions on held-out labels (see
    ``split_budget``), the smallest among equals. A rate whose loss is not finite is excluded; if that happens
    in the final fit, the next best rate is used. The classifier starts at zero and has the classes of the
    budget; other classes are never predicted. On a CPU the same seed and number of torch's threads give the
    same result bit for bit, however often the fine-tuning was interrupted.

    Args:
        encoder: Where the training starts; it is not changed.
        budget: The images whose labels may be used.
        test_images: (n_test, S, S, 3) uint8.
        n_classes: Number of classes.
        seed: Draws the splits, batches and views.
        config: The recipe.
        device: torch's name of the device.
        backend: What renders the views.
        activation_checkpointing: Compute activations twice to keep fewer of them; the result is the same.
        watched: How the caller follows it.

    Raises:
        Interrupted: ``watched.stop`` asked to stop; a checkpoint was saved if there is a folder for it.
        DivergedError: Every rate diverged.
        OutOfMemory: A step does not fit; the message names the ways out.
        ValueError: Images, labels, keys, views, rows or checkpoint do not fit together.
    """
    started = time.perf_counter()
    _check(encoder, budget, test_images, n_classes, config)
    present = np.unique(budget.labels)
    missing = tuple(int(c) for c in np.setdiff1d(np.arange(n_classes), present))
    bfloat16 = config.precision == "bfloat16" and fast_bfloat16(torch.device(device))
    precision = "bfloat16" if bfloat16 else "float32"
    if len(present) == 1:
        top5 = np.full((len(test_images), TOP), -1, dtype=np.int64)
        top5[:, 0] = present[0]
        return FinetuneFit(
            top5=top5,
            learning_rate=config.learning_rates[1],
            converged=True,
            steps=0,
            held_out=(),
            missing_classes=missing,
            precision=precision,
            seconds=time.perf_counter() - started,
        )
    splits = split_budget(budget.labels, budget.groups, seed=seed, config=config)
    cuda = torch.device(device).type == "cuda"
    threads = torch.get_num_threads()
    largest = max(config.batches(n)[0] for n in (len(budget.labels), *(len(train) for train, _ in splits)))
    views = choose_views(
        config.views, backend, largest, cuda, threads=threads if cuda else max(1, threads // 4)
    )
    guard = finetune_memory_guard(largest, config.views.size, device, activation_checkpointing)
    with closing(views), torch_seed(derive_seed("finetune", seed)), guard:
        fits = _Fits(
            encoder,
            budget,
            config,
            seed,
            torch.device(device),
            views,
            watched,
            splits,
            bfloat16=bfloat16,
            activation_checkpointing=activation_checkpointing,
        )
        held_out, order = fits.choose_rates()
        for rate in order:
            model = fits.fit(f"{rate} on all", np.arange(len(budget.labels)), rate)
            scores = fits.scores(model, test_images, None) if model is not None else None
            if scores is not None:
                return FinetuneFit(
                    top5=rank_classes(scores, present),
                    learning_rate=rate,
                    converged=rate == order[0],
                    steps=config.total_steps(len(budget.labels)),
                    held_out=held_out,
                    missing_classes=missing,
                    precision=precision,
                    seconds=fits.seconds,
                )
    raise DivergedError(
        f"the loss of the fine-tuning is not finite at any of the rates {config.learning_rates}; lower "
        "learning_rates, or look at the encoder's features"
    )


def split_budget(labels: Ints, groups: Ints | None, *, seed: int, config: FinetuneConfig) -> list[Split]:
    """The splits of a label budget that choose the rate.

    Below ``config.holdout_from`` labels these are ``config.folds`` stratified folds; from there on, one split
    that holds out every ``config.holdout``-th label. There is no split below 3 labels per fold, 2 labels per
    class on average or one group per fold: the middle rate is then used. Each class is spread as evenly as
    possible, and rows of one group are never on both sides.
    """
    if len(labels) < max(3 * config.folds, 2 * len(np.unique(labels))):
        return []
    small = len(labels) < config.holdout_from
    parts = config.folds if small else config.holdout
    fold = folds_of(labels, groups, seed, parts)
    if fold is None:
        return []
    judged = range(config.folds) if small else range(1)
    return [(np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in judged]


class _Fits:
    """All fits on one label budget, with the same start, batches and views."""

    def __init__(
        self,
        encoder: Encoder,
        budget: LabelBudget,
        config: FinetuneConfig,
        seed: int,
        device: torch.device,
        views: ViewBackend,
        watched: Supervision,
        splits: list[Split],
        *,
        bfloat16: bool,
        activation_checkpointing: bool,
    ) -> None:
        self._bfloat16, self._activation_checkpointing = bfloat16, activation_checkpointing
        self._encoder, self._budget, self._config, self._seed = encoder, budget, config, seed
        self._device, self._views, self._watched, self._splits = device, views, watched, splits
        self._classes = np.unique(budget.labels)
        self._rows = np.arange(len(budget.labels)) if budget.rows is None else budget.rows
        self._targets = np.full(len(budget.images), -1, dtype=np.int64)  # by position in the images
        self._targets[self._rows] = np.searchsorted(self._classes, budget.labels)
        fits = [len(train) for train, _ in splits] * len(config.learning_rates) + [len(budget.labels)]
        self._done, self._total = 0, sum(config.total_steps(n) for n in fits)
        self._looked_at, self._saved_at = -math.inf, time.monotonic()
        self._state = FinetuneState(identity={})
        if watched.folder is not None:
            identity = identity_of(
                encoder, config, seed, budget.labels, budget.keys, budget.groups, self._rows
            )
            self._state = FinetuneState(identity=identity).resumed(watched.folder)
        self._hits = dict(self._state.hits)
        self._started = time.perf_counter() - self._state.seconds

    @property
    def seconds(self) -> float:
        """Spent until now, also before a resume."""
        return time.perf_counter() - self._started

    def choose_rates(self) -> tuple[tuple[float, ...], list[float]]:
        """The share of held-out labels that each rate got right, and the rates to try, best first."""
        rates = self._config.learning_rates
        if not self._splits:
            return (), [rates[1], rates[0]]
        shares = tuple(self._judge(rate) for rate in rates)
        usable = [(-share, rate) for share, rate in zip(shares, rates, strict=True) if math.isfinite(share)]
        return shares, [rate for _, rate in sorted(usable)]

    def _judge(self, rate: float) -> float:
        hits, judged = 0.0, 0
        for k, (train, held) in enumerate(self._splits):
            name = f"{rate} without fold {k}"
            if name in self._hits:
                self._advance(self._config.total_steps(len(train)))
            else:
                self._hits[name] = self._hits_of(self.fit(name, train, rate), held)
            hits, judged = hits + self._hits[name], judged + len(held)
            if math.isnan(hits):
                break
        return hits / judged

    def _hits_of(self, model: nn.Module | None, held: Ints) -> float:
        rows = self._rows[held]
        scores = self.scores(model, self._budget.images, rows) if model is not None else None
        return math.nan if scores is None else int((scores.argmax(axis=1) == self._targets[rows]).sum())

    def fit(self, name: str, members: Ints, base_rate: float) -> nn.Module | None:
        """A model trained on the ``members`` of the budget; None if its loss was not finite."""
        config = self._config
        encoder = copy.deepcopy(self._encoder).requires_grad_(True)
        if self._activation_checkpointing and not checkpoint_blocks(encoder):
            raise ValueError("activation_checkpointing finds no blocks in the encoder; set it to false")
        classifier = nn.Linear(encoder.feature_dim, len(self._classes))
        nn.init.zeros_(classifier.weight)
        nn.init.zeros_(classifier.bias)
        model = nn.Sequential(encoder, classifier).to(self._device).to(memory_format=torch.channels_last)
        model.train()
        batch, _ = config.batches(len(members))
        steps, peak = config.total_steps(len(members)), base_rate * batch / 256
        optimizer = _optimizer(model, config, peak)
        loader = ViewLoader(
            self._budget.images,
            self._budget.keys[members],
            batch=batch,
            seed=derive_seed("finetune-views", self._seed),
            views=self._views,
            n_views=1,
            rows=self._rows[members],
        )
        first, loss_sum = 0, torch.zeros((), device=self._device)
        if self._state.fit == name:
            first, loss_sum = self._state.step, loss_sum + self._state.loss_sum
            model.load_state_dict(self._state.model)
            optimizer.load_state_dict(self._state.optimizer)
            self._advance(first)
        with closing(loader.batches(first, steps)) as batches:  # type: ignore[type-var]
            for views in batches:
                for group in optimizer.param_groups:
                    group["lr"] = learning_rate_at(views.step, total_steps=steps, warmup_steps=0, peak=peak)
                targets = torch.from_numpy(self._targets[views.index]).to(self._device)
                torch.default_generator.manual_seed(derive_seed("finetune-step", self._seed, views.step))
                loss_sum += self._update(model, optimizer, views.views[0], targets)
                self._advance(1)
                last = views.step + 1 == steps
                if (last or views.step % _CHECK_EVERY == 0) and not math.isfinite(float(loss_sum)):
                    self._advance(steps - views.step - 1)
                    return None
                self._maybe_checkpoint(name, views.step + 1, loss_sum, model, optimizer)
        return model.eval()

    def _update(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, view: Tensor, targets: Tensor
    ) -> Tensor:
        images = view.to(self._device, non_blocking=True, memory_format=torch.channels_last)
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._bfloat16):
            logits = model(images)
        loss = F.cross_entropy(logits.float(), targets)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        return loss.detach()

    def _advance(self, steps: int) -> None:
        self._done += steps
        self._watched.progress(self._done, self._total)

    def _maybe_checkpoint(
        self, name: str, step: int, loss_sum: Tensor, model: nn.Module, optimizer: torch.optim.Optimizer
    ) -> None:
        """Save a checkpoint if it is due; if asked to stop, save one and raise Interrupted."""
        now = time.monotonic()
        if now - self._looked_at < _LOOK_EVERY_S:
            return
        self._looked_at, folder = now, self._watched.folder
        stop = self._watched.stop()
        if folder is not None and (stop or now - self._saved_at >= self._watched.checkpoint_every_s):
            replace(
                self._state,
                hits=self._hits,
                fit=name,
                step=step,
                loss_sum=float(loss_sum),
                seconds=self.seconds,
                model=model.state_dict(),
                optimizer=optimizer.state_dict(),
            ).save(folder)
            self._watched.kept()
            self._saved_at = now
        if stop:
            raise Interrupted(f"the fine-tuning stopped after step {self._done} of {self._total}")

    def scores(
        self, model: nn.Module, images: ImageArray, rows: Ints | None
    ) -> npt.NDArray[np.float32] | None:
        """Logits (n, classes) of clean images, all or those at ``rows``; None if one is not finite."""
        n = len(images) if rows is None else len(rows)
        scores = np.empty((n, len(self._classes)), dtype=np.float32)
        with torch.inference_mode():
            for start in range(0, n, _EVAL_BATCH):
                part = slice(start, start + _EVAL_BATCH)
                batch = pixels_to_input(np.asarray(images[part if rows is None else rows[part]]))
                batch = batch.to(self._device, memory_format=torch.channels_last)
                scores[part] = model(batch).float().cpu().numpy()
        return scores if np.isfinite(scores).all() else None


def _optimizer(model: nn.Module, config: FinetuneConfig, rate: float) -> torch.optim.Optimizer:
    """Biases and norm parameters are free of decay and, in LARS, of adaptation, as in a pretraining."""
    parameters = list(model.parameters())
    decayed = {"params": [p for p in parameters if p.ndim > 1], "weight_decay": config.weight_decay}
    free = {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0}
    if config.optimizer == "lars":
        return LARS([decayed, {**free, "adapt": False}], lr=rate, momentum=config.momentum)
    return torch.optim.SGD([decayed, free], lr=rate, momentum=config.momentum, nesterov=True)


def _check(
    encoder: Encoder, budget: LabelBudget, test_images: ImageArray, n_classes: int, config: FinetuneConfig
) -> None:
    labels, n = budget.labels, len(budget.labels)
    rows = len(budget.images) if budget.rows is None else len(budget.rows)
    if n == 0 or labels.shape != (n,) or len(budget.keys) != n or rows != n:
        raise ValueError(
            f"{labels.shape} labels, {len(budget.keys)} keys and {rows} images; give one of each per image"
        )
    if labels.min() < 0 or labels.max() >= n_classes:
        raise ValueError(
            f"labels run from {labels.min()} to {labels.max()}; they must be 0 to {n_classes - 1}"
        )
    if budget.groups is not None and budget.groups.shape != (n,):
        raise ValueError(f"groups are {budget.groups.shape}; give one per label, ({n},)")
    size = config.views.size
    for name, images in (("training", budget.images), ("test", test_images)):
        if images.shape[1:] != (size, size, 3) or images.dtype != np.uint8 or len(images) == 0:
            raise ValueError(
                f"{name} images are {images.dtype} {images.shape}; views of {size} px (views.size) need "
                f"uint8 (n, {size}, {size}, 3), n > 0"
            )
