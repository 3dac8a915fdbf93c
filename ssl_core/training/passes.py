"""Forward and backward pass of a step: as they are, or recorded once as a CUDA graph.

A step of a small network is thousands of short operations, and a CPU may take longer to launch them than a
GPU takes to compute them. A graph is one launch. The optimiser and ``after_step`` are outside it, because
what they do depends on the step.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ssl_sweep.ssl_core.methods.base import StepOutput

Passes = Callable[[tuple[Tensor, ...], Tensor | None], StepOutput]
_WARM_UP = 3  # passes before the recording, as torch's documentation asks


class GraphedPasses:
    """Replays ``passes``, which replaces the gradients of ``model`` at every call.

    The first call records it, after a few passes that leave no trace in the model's buffers. Every call must
    have inputs of the same shapes. On a CPU the passes run at every call, on the same fixed inputs.

    Raises:
        ValueError: At the first call: the method draws random numbers, which a replay would repeat.
    """

    def __init__(self, passes: Passes, model: nn.Module, method: str) -> None:
        self._passes, self._model, self._method = passes, model, method
        self._replay: Callable[[], None] | None = None

    def __call__(self, views: tuple[Tensor, ...], labels: Tensor | None) -> StepOutput:
        if self._replay is None:
            self._views = tuple(view.clone() for view in views)
            self._labels = None if labels is None else labels.clone()
            self._replay = self._record(views[0].is_cuda)
        for fixed, view in zip(self._views, views, strict=True):
            fixed.copy_(view)
        if self._labels is not None and labels is not None:
            self._labels.copy_(labels)
        self._replay()
        vars(self._model).update(self._attributes)
        # the next replay overwrites its results
        return StepOutput(self._output.loss.detach().clone(), self._output.features.detach().clone())

    def _record(self, cuda: bool) -> Callable[[], None]:
        before = {name: buffer.clone() for name, buffer in self._model.named_buffers()}
        drawn = torch.default_generator.get_state()
        if cuda:
            side = torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                self._warm_up()
            torch.cuda.current_stream().wait_stream(side)
        else:
            self._warm_up()
        if not torch.equal(torch.default_generator.get_state(), drawn):
            raise ValueError(
                f"method {self._method!r} draws random numbers in every step, and a CUDA graph would repeat"
                " those of the first; set cuda_graph to false"
            )
        with torch.no_grad():
            for name, buffer in self._model.named_buffers():
                buffer.copy_(before[name])
        if not cuda:
            return self._run
        graph = torch.cuda.CUDAGraph()
        # other threads render views meanwhile: only what this one does is recorded, or forbidden
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            self._run()
        return graph.replay

    def _warm_up(self) -> None:
        for _ in range(_WARM_UP):
            self._run()

    def _run(self) -> None:
        self._output = self._passes(self._views, self._labels)
        # what a method keeps for ``after_step`` is set by code that a replay does not run
        self._attributes = {
            name: value for name, value in vars(self._model).items() if isinstance(value, Tensor)
        }
