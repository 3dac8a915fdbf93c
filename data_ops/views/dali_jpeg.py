"""Views directly from JPEG files by DALI: each file is decoded once for all its views, by nvJPEG on a GPU.

For data that stays encoded. Trainings read prepared pixels instead. The two are different augmentations:
crops of a prepared dataset are taken from the centred square at the working size, crops here from the whole
file. On the CPU, decoded pixels equal Pillow's; those of nvJPEG may differ by a few grey levels.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ssl_sweep.data_ops.errors import DataError
from ssl_sweep.data_ops.views.dali_views import Device, view_graph, view_inputs
from ssl_sweep.data_ops.views.policy import ViewParams, ViewPolicy
from ssl_sweep.data_ops.views.torch_device import gpu_index

from nvidia.dali import Pipeline, fn, pipeline_def, types  # isort: skip  # dali_views says how to install it

_ORIENTATION = 0x0112  # tag of EXIF


class DaliJpegViews:
    """Renders one view per policy of at most ``batch`` files at a time, on one device. See ``DaliViews``."""

    def __init__(
        self, policies: Sequence[ViewPolicy], batch: int, device: Device = "cpu", threads: int = 1
    ) -> None:
        if device == "gpu" and not torch.cuda.is_available():
            raise DataError("views of JPEG files need a GPU here, but torch sees none; use device 'cpu'")
        self.policies = tuple(policies)
        self._batch = batch
        self._pipeline: Pipeline | None = jpeg_pipeline(self.policies, batch, device, threads)
        self._pipeline.build()

    def render(self, files: Sequence[bytes], params: Sequence[ViewParams]) -> tuple[torch.Tensor, ...]:
        """One view per policy of n files: float32 (n, 3, S, S), scaled by (x / 255 - 0.5) / 0.25.

        Args:
            files: The bytes of 1 to ``batch`` files.
            params: For each policy, the parameters drawn with ``shape=jpeg_shapes(files)``.

        Raises:
            DataError: The number of files is out of range, or the parameters do not match the files.
        """
        if self._pipeline is None:
            raise DataError("views: this DALI back end was closed; create a new one")
        if not 0 < len(files) <= self._batch:
            raise DataError(f"views: {len(files)} files; give 1 to {self._batch}")
        shapes = jpeg_shapes(files)
        if any(not np.array_equal(p.shape, shapes) for p in params) or len(params) != len(self.policies):
            raise DataError("views: give parameters for each view, drawn with shape=jpeg_shapes(files)")
        self._pipeline.feed_input("files", [np.frombuffer(file, dtype=np.uint8) for file in files])
        for number, (policy, drawn) in enumerate(zip(self.policies, params, strict=True)):
            for name, values in view_inputs(policy, drawn, str(number)).items():
                self._pipeline.feed_input(name, values)
        return tuple(torch.utils.dlpack.from_dlpack(v.as_tensor()) for v in self._pipeline.run())

    def close(self) -> None:
        """Free the pipeline, its threads and memory."""
        self._pipeline = None


def jpeg_pipeline(policies: Sequence[ViewPolicy], batch: int, device: Device, threads: int = 1) -> Pipeline:
    """The pipeline before it is built. Defining it for "gpu" does not need a GPU."""
    define = pipeline_def(
        batch_size=batch,
        num_threads=threads,
        device_id=gpu_index() if device == "gpu" else None,
        prefetch_queue_depth=1,
        enable_conditionals=True,
    )(_graph)
    return define(tuple(policies), device)


def _graph(policies: tuple[ViewPolicy, ...], device: Device) -> Any:
    x = fn.decoders.image(
        fn.external_source(name="files"),
        device="mixed" if device == "gpu" else "cpu",
        output_type=types.RGB,
        adjust_orientation=True,  # as sources.decode
    )
    return tuple(view_graph(x, policy, device, str(number)) for number, policy in enumerate(policies))


def jpeg_shapes(files: Sequence[bytes]) -> npt.NDArray[np.int64]:
    """(n, 2) heights and widths of the upright images, from the files' headers."""
    from PIL import Image

    shapes = []
    for file in files:
        with Image.open(io.BytesIO(file)) as image:
            try:
                turned = image.getexif().get(_ORIENTATION) in (5, 6, 7, 8)
            except Exception:  # a broken tag, which viewers ignore; Pillow's parser raises nearly anything
                turned = False
            shapes.append((image.width, image.height) if turned else (image.height, image.width))
    return np.array(shapes, dtype=np.int64).reshape(-1, 2)
