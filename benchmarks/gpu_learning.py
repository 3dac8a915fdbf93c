"""Parts of the GPU suite about what is learned: precision, resume, the probe, two processes, CIFAR-10."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import shutil
import time
from pathlib import Path
from typing import Any

import cifar_gpu
import numpy as np
import probe_gpu
import torch
import torch.distributed as dist
from gpu_record import SLOW, Record, Row
from gpu_steps import SMALL, TINY, Case, config_of, keys_of, noise
from safetensors.torch import load_file

from ssl_sweep.ssl_core.training.encoder_files import load_encoder
from ssl_sweep.ssl_core.training.reporter import LocalReporter
from ssl_sweep.ssl_core.training.trainer import (
    Interrupted,
    RuntimeOptions,
    TrainingImages,
    TrainSummary,
    pretrain,
)


def case_of(record: Record) -> Case:
    return TINY if record.tiny else SMALL


def pictures(record: Record, cifar: Path | None, most: int) -> tuple[TrainingImages, str]:
    """CIFAR-10 if it is there, else noise of the same size."""
    size = case_of(record).size
    if cifar is None or size != cifar_gpu.SIZE:
        images, labels, name = noise(most, size), np.arange(most) % 10, "noise"
    else:
        (images, labels), name = cifar_gpu.read(cifar, "train", most), "CIFAR-10"
    return TrainingImages(images, keys_of(len(images)), labels, 10), name


# 4. precision


def precision(record: Record, device: str, cifar: Path | None, work: Path) -> None:
    """bfloat16 against float32 over the same 500 steps."""
    steps, most = (6, 64) if record.tiny else (500, 20_000)
    for precision in ("bfloat16", "float32"):
        record.measure(
            precision, lambda p=precision: _precision(record, device, cifar, work / p, p, steps, most)
        )


def _precision(
    record: Record, device: str, cifar: Path | None, work: Path, precision: str, steps: int, most: int
) -> Row:
    data, name = pictures(record, cifar, most)
    config = config_of(case_of(record), precision=precision, steps=steps, epochs=100)
    shutil.rmtree(work, ignore_errors=True)
    summary = pretrain(config, data, work, LocalReporter(work), RuntimeOptions(device=device))
    encoder = load_encoder(work).to(device)
    features = cifar_gpu.features(encoder, data.images[:5000], device)
    labels = torch.from_numpy(np.asarray(data.labels)[:5000])
    half = len(features) // 2
    return {
        "images": name,
        "computed in": summary.precision,
        "steps": summary.steps,
        "loss at the end": summary.loss,
        "losses": " ".join(f"{epoch.loss:.3f}" for epoch in summary.epochs[:: max(1, steps // 60)]),
        "kNN of 2,500 images %": 100
        * cifar_gpu.nearest(features[:half], labels[:half], features[half:], labels[half : len(features)]),
        "images/s": summary.images_per_s,
    }


# 5. resume


class _StopsOnce(LocalReporter):
    """Asks to stop at its second look, about half a second after the first step."""

    def __init__(self, folder: Path, looks: int) -> None:
        super().__init__(folder)
        self._looks = looks

    def stop_requested(self) -> bool:
        self._looks -= 1
        return self._looks == 0


def resume(record: Record, device: str, cifar: Path | None, work: Path) -> None:
    """An interrupted training against one that was not, and this one against itself."""
    plain = RuntimeOptions(device=device)
    for name, options, deterministic in (
        ("as it is", plain, False),
        ("deterministic algorithms", plain, True),
        ("CUDA graph", dataclasses.replace(plain, cuda_graph=True), True),
    ):
        record.measure(
            name,
            lambda n=name, o=options, d=deterministic: _resume(
                record, cifar, work / n.replace(" ", "-"), o, d
            ),
        )


def _resume(record: Record, cifar: Path | None, work: Path, options: RuntimeOptions, sure: bool) -> Row:
    data, _ = pictures(record, cifar, 64 if record.tiny else 10_240)
    config = config_of(case_of(record), steps=6 if record.tiny else 60, epochs=4)
    shutil.rmtree(work, ignore_errors=True)
    torch.use_deterministic_algorithms(sure, warn_only=True)
    try:
        for folder in ("one", "two"):
            pretrain(config, data, work / folder, LocalReporter(work / folder), options)
        stopped = ""
        try:
            stopper = _StopsOnce(work / "cut", 1 if record.tiny else 2)
            pretrain(config, data, work / "cut", stopper, options)
        except Interrupted as part:
            stopped = str(part)
        pretrain(config, data, work / "cut", LocalReporter(work / "cut"), options)
    finally:
        torch.use_deterministic_algorithms(False)
    one, two, cut = (load_file(work / name / "encoder.safetensors") for name in ("one", "two", "cut"))
    return {
        "interrupted": stopped,
        "resumed: largest difference of a weight": _difference(one, cut),
        "run twice: largest difference of a weight": _difference(one, two),
        "resumed bit for bit": _difference(one, cut) == 0,
    }


def _difference(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> float:
    return max(float((ours[name].double() - theirs[name].double()).abs().max()) for name in ours)


# 6. linear probe


def probe(record: Record, device: str) -> None:
    """scikit-learn's estimator on the device; goal: 2 minutes for 1,000,000 × 2048, 1,000 classes."""
    name = device if device == "cuda" else "cpu:0"
    sizes = ((600, 24, 11),) if record.tiny else ((50_000, 2048, 100), (1_000_000, 2048, 1000))
    for images, width, classes in sizes:
        record.measure(
            f"{images:,} × {width}, {classes} classes",
            lambda i=images, w=width, c=classes: {
                **probe_gpu.measure(name, i, w, c, check=record.tiny),
                "goal s": 120.0,
            },
        )


# 7. CIFAR-10


def cifar(record: Record, device: str, folder: Path | None, work: Path, minutes: float) -> None:
    """SimCLR for the time that is left; the same command goes on with the next epoch."""
    if folder is None:
        record.keep("SimCLR on CIFAR-10", {"needs": "--cifar"})
        return
    arguments = ["--data", str(folder), "--out", str(work), "--device", device, "--minutes", str(minutes)]
    if record.tiny:
        arguments += ["--encoder", "resnet-demo", "--batch", "16", "--epochs", "2", "--images", "64"]
    arguments += ["--knn-every", "1" if record.tiny else "4"]
    code = cifar_gpu.main(arguments)
    curve = cifar_gpu.curve(work)
    for epoch, accuracy in sorted(curve.items()):
        record.keep(f"epoch {epoch}", {"kNN top-1 %": 100 * accuracy})
    for epoch, accuracy in cifar_gpu.PUBLISHED.items():
        record.keep(f"published, epoch {epoch}", {"kNN top-1 %": accuracy})
    if code == 0:
        record.keep("result", json.loads((work / "result.json").read_text()))
    else:
        last = (work / "epochs.jsonl").read_text().splitlines()[-1:] if curve or code else []
        record.keep("so far", {**(json.loads(last[0]) if last else {}), "needs": "more time"})


# 8. two processes


def two(record: Record, device: str, work: Path) -> None:
    """Two workers of half the batch against one worker, over the same steps."""
    for backend in ("gloo", "nccl"):
        record.measure(
            f"{backend}, 2 processes, {max(1, torch.cuda.device_count()) if device == 'cuda' else 'no'} GPU",
            lambda b=backend: _two(record, device, work / b, b),
            gpu=backend == "nccl",
        )


def _two(record: Record, device: str, work: Path, backend: str) -> Row:
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    started = time.perf_counter()
    # CUDA has started here, and a fork of this process could not use it
    method = multiprocessing.get_start_method() if device == "cuda" else "fork"
    processes: Any = multiprocessing.get_context(method)
    if method == "forkserver":
        processes.set_forkserver_preload(SLOW)
    children = [
        processes.Process(target=worker, args=(rank, backend, device, work, record.tiny)) for rank in range(2)
    ]
    for child in children:
        child.start()
    for child in children:
        child.join(80 if record.tiny else 60)
    hung = [child for child in children if child.is_alive()]
    for child in hung:
        child.kill()
        child.join()
    said = "; ".join(file.read_text() for file in sorted(work.glob("*.error")))
    if hung or said or any(child.exitcode for child in children):
        raise RuntimeError(said or ("a process hung" if hung else "a process died"))
    seconds = time.perf_counter() - started
    alone = work / "alone"
    train_part(record.tiny, device, alone, LocalReporter(alone))
    one, both = (_losses(folder) for folder in (alone, work / "both"))
    return {
        "seconds": seconds,
        "steps": len(one),
        "largest difference of a loss": float(np.abs(np.array(one) - np.array(both)).max()),
        "loss, first to last": f"{one[0]:.4f} to {one[-1]:.4f}",
        "goal": "below 1e-3",
    }


def worker(rank: int, backend: str, device: str, folder: Path, tiny: bool) -> None:
    """One of the two processes."""
    try:
        if device == "cuda":
            torch.cuda.set_device(rank % torch.cuda.device_count())
        else:
            torch.set_num_threads(1)
        dist.init_process_group(backend, init_method=f"file://{folder}/store", rank=rank, world_size=2)
        train_part(tiny, device, folder / "both", LocalReporter(folder / "both", rank))
        dist.destroy_process_group()
    except Exception as error:
        text = f"worker {rank}: {type(error).__name__}: {error}"
        (folder / f"{rank}.error").write_text(" ".join(text.split())[:400])


def train_part(tiny: bool, device: str, folder: Path, reporter: LocalReporter) -> TrainSummary:
    """Every step is an epoch, so that the records hold each loss; rates at which rounding does not grow."""
    case = TINY if tiny else dataclasses.replace(SMALL, batch=256)
    calm: dict[str, Any] = {"optimizer": "sgd", "learning_rate": 0.1, "temperature": 0.5}
    config = config_of(case, epochs=4 if tiny else 12, precision="float32", **calm)
    images = noise(case.batch, case.size)
    options = RuntimeOptions(device=device, backend="torch", threads=1)
    return pretrain(config, TrainingImages(images, keys_of(len(images))), folder, reporter, options)


def _losses(folder: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (folder / "epochs.jsonl").read_text().splitlines()]
