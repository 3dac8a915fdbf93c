"""Parts of the GPU suite about speed and parity: views, whole steps, and each switch on and off."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from gpu_record import Record, Row
from PIL import Image

from ssl_sweep.data_ops.hashing import hash64
from ssl_sweep.data_ops.views.backend import ViewBackend, choose_views
from ssl_sweep.data_ops.views.device_images import on_device
from ssl_sweep.data_ops.views.loader import ViewBatch, ViewLoader
from ssl_sweep.data_ops.views.named_policies import named_policy
from ssl_sweep.data_ops.views.policy import ViewPolicy, sample_params, simclr_policy
from ssl_sweep.data_ops.views.torch_device import TorchDeviceViews
from ssl_sweep.data_ops.views.torch_views import TorchViews
from ssl_sweep.ssl_core.config.pretrain import PretrainConfig, default_config
from ssl_sweep.ssl_core.encoders.build import torch_seed
from ssl_sweep.ssl_core.training.data import TrainingImages
from ssl_sweep.ssl_core.training.trainer import RuntimeOptions, Training

LEVELS = 63.75  # grey levels of one unit of a view
ENDLESS = 10**9


@dataclass(frozen=True)
class Case:
    """A network, and the published rate that it is compared with."""

    encoder: str
    size: int
    batch: int
    goal: float = 0.0
    """Images/s, each in two views."""

    @property
    def name(self) -> str:
        return f"{self.encoder} {self.size} px"


SMALL = Case("resnet18", 32, 512, 4200.0)  # an A100
LARGE = Case("resnet50", 224, 256)
TRANSFORMER = Case("vit-s", 224, 256, 871.0)  # an H200
TINY, TINY_LARGE = Case("resnet-demo", 16, 8), Case("resnet-demo", 72, 4)


def noise(n: int, size: int) -> np.ndarray:
    images = np.random.default_rng(0).integers(0, 256, (n, size, size, 3), dtype=np.uint8)
    images[: n // 2] = np.sort(images[: n // 2], axis=1)  # half of them are smooth
    return images


def keys_of(n: int) -> np.ndarray:
    return hash64(0, np.arange(n))


def wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


# 1. parity


def parity(record: Record, device: str) -> None:
    """Views on the device against the CPU's torch back end, on the same parameters, in grey levels."""
    cuda = device == "cuda"
    n = 12 if record.tiny else 128
    for size, stored in ((16, 16), (72, 80)) if record.tiny else ((32, 32), (224, 256)):
        policies: dict[str, ViewPolicy] = {
            mode: dataclasses.replace(simclr_policy(size, 1.0, True), mode=mode, solarize=0.2)
            for mode in ("exact", "affine")
        }
        for (mode, policy), name in itertools.product(policies.items(), ("torch", "dali")):
            record.measure(
                f"{name} {mode} {size} px",
                lambda policy=policy, name=name, n=n, stored=stored: _view_parity(
                    policy, name, n, stored, cuda
                ),
            )
    record.measure(
        "JPEG decode and views", lambda: _jpeg_parity(12 if record.tiny else 64, record.tiny, cuda)
    )


def _view_parity(policy: ViewPolicy, name: str, n: int, stored: int, cuda: bool) -> Row:
    images = noise(n, stored)
    params = sample_params(policy, 1, 2, keys_of(n), 0, shape=(stored, stored))
    if name == "torch":
        views: ViewBackend = TorchDeviceViews(policy, torch.device("cuda" if cuda else "cpu"))
    else:
        views = choose_views(policy, "dali", n, cuda=cuda, threads=4)
    with contextlib.closing(views):
        found = views.render(images, params).cpu()
        again = views.render(torch.from_numpy(images).to(views.device), params).cpu()
    difference = (found - TorchViews(policy).render(images, params)).abs() * LEVELS
    return {
        "back end": views.name,
        "mean levels": float(difference.mean()),
        "max levels": float(difference.max()),
        "goal": "max < 0.02",
        "images on the device: same": bool(torch.equal(found, again)),
    }


def _jpeg_parity(n: int, tiny: bool, cuda: bool) -> Row:
    from ssl_sweep.data_ops.views.dali_jpeg import DaliJpegViews, jpeg_shapes

    policies = named_policy("byol", 64 if tiny else 224)
    files = jpegs(n)
    shapes = jpeg_shapes(files)
    params = [sample_params(p, 1, 2, keys_of(n), view, shape=shapes) for view, p in enumerate(policies)]
    with contextlib.closing(DaliJpegViews(policies, n, "gpu" if cuda else "cpu", threads=4)) as views:
        found = [view.cpu() for view in views.render(files, params)]
    worst, total = 0.0, 0.0
    for i, file in enumerate(files):
        pixels = np.asarray(Image.open(io.BytesIO(file)).convert("RGB"))
        for view, policy in enumerate(policies):
            alone = sample_params(policy, 1, 2, keys_of(n)[i : i + 1], view, shape=pixels.shape[:2])
            expected = TorchViews(policy).render(pixels[None], alone)[0]
            difference = (found[view][i] - expected).abs() * LEVELS
            worst, total = max(worst, float(difference.max())), total + float(difference.mean())
    return {"back end": "dali-jpeg", "mean levels": total / n / len(policies), "max levels": worst}


def jpegs(n: int) -> list[bytes]:
    """Files of 500 x 375 pixels, smooth colours and noise."""
    rng = np.random.default_rng(0)
    files = []
    for _ in range(n):
        coarse = torch.from_numpy(rng.uniform(-40, 295, (1, 3, 12, 16)))
        smooth = torch.nn.functional.interpolate(coarse, (375, 500), mode="bicubic")[0].permute(1, 2, 0)
        pixels = np.clip(smooth.numpy() + rng.normal(0, 9, (375, 500, 1)), 0, 255).astype(np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "JPEG", quality=90)
        files.append(buffer.getvalue())
    return files


# 2. speed of views and of whole steps


@dataclass(frozen=True)
class Setting:
    """One way to run the steps of a case."""

    options: RuntimeOptions
    copies: str = "one"
    """How often images go to the device: "one" copy serves both views, or each "view" makes its own."""
    prepare: Callable[[Training], None] | None = None
    """Changes the training before its first step."""


@contextlib.contextmanager
def opened(case: Case, setting: Setting) -> Iterator[tuple[Training, ViewLoader, ViewBackend]]:
    """A training as ``pretrain`` makes it."""
    options = setting.options
    cuda = options.device == "cuda"
    config = default_config(case.encoder, case.size, batch=case.batch, epochs=100)
    n = max(2 * case.batch, 4096 if case.size <= 64 and cuda else 0)
    images, keys = noise(n, case.size), keys_of(n)
    with contextlib.closing(
        choose_views(config.views, options.backend, case.batch, cuda=cuda, threads=8 if cuda else 1)
    ) as views:
        read = images
        if setting.copies == "one":
            read = on_device(images, views.device, resident=options.resident_images)
        loader = ViewLoader(read, keys, batch=case.batch, seed=0, views=views)
        with torch_seed(0):
            training = Training(
                config, loader, torch.device(options.device), TrainingImages(images, keys), options
            )
        training.total_steps = ENDLESS  # the schedule hardly moves
        training.model.train()
        if setting.prepare is not None:
            setting.prepare(training)
        yield training, loader, views


def seconds_per_step(
    training: Training, batches: Iterable[ViewBatch], device: str, tiny: bool, most_s: float
) -> float:
    """Mean over many steps, as the training loop makes them, after a warm-up."""
    skipped, fewest = (1, 2) if tiny else (12, 20)
    started, done = 0.0, 0
    iterator = iter(batches)
    with contextlib.closing(iterator) if hasattr(iterator, "close") else contextlib.nullcontext():  # type: ignore[type-var]
        for number, batch in enumerate(iterator):
            if number == skipped:
                training.losses.drain()
                wait(device)
                started = time.perf_counter()
            loss, _, rate = training.step(training.model, batch)
            training.losses.add(batch, rate, loss)
            done = number + 1 - skipped
            if done >= fewest and (tiny or time.perf_counter() - started > most_s):
                break
    training.losses.drain()
    wait(device)
    return (time.perf_counter() - started) / done


def step_rate(case: Case, setting: Setting, tiny: bool, *, compute_only: bool = False) -> Row:
    """Images/s of the whole step; with ``compute_only`` also of the same step on one batch of views again and
    again."""
    device = setting.options.device
    if device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    with opened(case, setting) as (training, loader, views):
        whole = seconds_per_step(training, loader.batches(0, ENDLESS), device, tiny, 4.0)
        row: Row = {"views": views.name, "images/s": case.batch / whole}
        if compute_only:
            batch = next(iter(loader.batches(0, 1)))
            kept = dataclasses.replace(batch, views=tuple(v.to(device) for v in batch.views))
            alone = seconds_per_step(training, itertools.repeat(kept), device, tiny, 4.0)
            row |= {"compute only, images/s": case.batch / alone, "ratio": alone / whole, "goal ratio": 0.97}
        if case.goal:
            row |= {"published images/s": case.goal}
        if device == "cuda":
            row["GiB"] = torch.cuda.max_memory_allocated() / 2**30
    return row


def views(record: Record, device: str) -> None:
    """Images/s of the pipeline alone, two views each."""
    cuda = device == "cuda"
    for case in (TINY, TINY_LARGE) if record.tiny else (SMALL, LARGE):
        for backend in ("torch", "dali"):
            for resident in (True, False) if case.size <= 64 else (False,):
                options = RuntimeOptions(backend=backend, device=device, resident_images=resident)  # type: ignore[arg-type]
                name = f"{backend} {case.size} px{', resident' if resident else ''}"
                record.measure(name, lambda case=case, o=options: _pipeline_rate(case, o, record.tiny))
    record.measure("JPEG to two views", lambda: _jpeg_rate(record.tiny, cuda))


def _pipeline_rate(case: Case, options: RuntimeOptions, tiny: bool) -> Row:
    with opened(case, Setting(options)) as (_, loader, backend):
        steps = 3 if tiny else 60 if case.size <= 64 else 24
        started = 0.0
        for batch in loader.batches(0, steps + 2):
            if batch.step == 1:
                wait(options.device)
                started = time.perf_counter()
        wait(options.device)
        rate = steps * case.batch / (time.perf_counter() - started)
    return {"views": backend.name, "images/s": rate}


def _jpeg_rate(tiny: bool, cuda: bool) -> Row:
    from ssl_sweep.data_ops.views.dali_jpeg import DaliJpegViews, jpeg_shapes

    n, size, rounds = (6, 64, 2) if tiny else (256, 224, 12)
    policies = named_policy("simclr", size) * 2
    files = jpegs(min(n, 32)) * (n // min(n, 32))
    shapes = jpeg_shapes(files)
    with contextlib.closing(DaliJpegViews(policies, n, "gpu" if cuda else "cpu", threads=8)) as backend:
        for number in range(rounds + 1):
            if number == 1:
                wait("cuda" if cuda else "cpu")
                started = time.perf_counter()
            params = [
                sample_params(p, 0, number, keys_of(n), view, shape=shapes) for view, p in enumerate(policies)
            ]
            backend.render(files, params)
        wait("cuda" if cuda else "cpu")
    return {"views": "dali-jpeg", "images/s": rounds * n / (time.perf_counter() - started)}


def steps(record: Record, device: str) -> None:
    """The whole step against the same step on views that lie ready."""
    for case in (TINY, TINY_LARGE) if record.tiny else (SMALL, TRANSFORMER, LARGE):
        for backend in ("dali", "torch"):
            setting = Setting(RuntimeOptions(backend=backend, device=device))  # type: ignore[arg-type]
            record.measure(
                f"{case.name}, {backend}",
                lambda c=case, s=setting: step_rate(c, s, record.tiny, compute_only=True),
            )


# 3. switches


def switches(record: Record, device: str) -> None:
    """Each improvement on and off, on the whole step."""
    base = RuntimeOptions(device=device)
    if record.cuda:
        base = dataclasses.replace(base, backend="torch")  # the loader costs least: other differences show
    with_ = lambda **change: Setting(dataclasses.replace(base, **change))  # noqa: E731
    small: dict[str, Setting] = {
        "as it is": Setting(base),
        "waits for every loss": with_(loss_lag=0),
        "CUDA graph": with_(cuda_graph=True),
        "LARS, one tensor at a time": Setting(base, prepare=_one_tensor_at_a_time),
        "contiguous, not channels-last": with_(channels_last=False),
        "images on the host": with_(resident_images=False),
        "a copy for each view": Setting(base, copies="view"),
        "as it is, again": Setting(base),
    }
    large = {
        "as it is": Setting(base),
        "contiguous, not channels-last": with_(channels_last=False),
        "a copy for each view": Setting(base, copies="view"),
    }
    # on a CPU these take minutes of warm-up, or do not exist
    only_gpu = {
        "compiled": with_(compile=True),
        "compiled, CUDA graph": with_(compile=True, cuda_graph=True),
        "LARS, compiled": Setting(base, prepare=_compiled_lars),
        "cuDNN tries its algorithms": Setting(base, prepare=_benchmark_cudnn),
    }
    cases = (TINY, TINY_LARGE) if record.tiny else (SMALL, LARGE)
    for case, settings in zip(cases, (small, large), strict=True):
        for name, setting in {**settings, **only_gpu}.items():
            record.measure(
                f"{case.name}: {name}",
                lambda c=case, s=setting: _switched(c, s, record.tiny),
                gpu=name in only_gpu,
            )


def _switched(case: Case, setting: Setting, tiny: bool) -> Row:
    try:
        return step_rate(case, setting, tiny)
    finally:
        torch.backends.cudnn.benchmark = False


def _one_tensor_at_a_time(training: Training) -> None:
    groups = training.optimizer.param_groups
    training.optimizer.param_groups = [{**group, "params": [p]} for group in groups for p in group["params"]]


def _compiled_lars(training: Training) -> None:
    training.optimizer._update = torch.compile(training.optimizer._update)  # type: ignore[attr-defined]


def _benchmark_cudnn(training: Training) -> None:
    torch.backends.cudnn.benchmark = True


def config_of(case: Case, **change: Any) -> PretrainConfig:
    return default_config(case.encoder, case.size, **{"batch": case.batch, **change})
