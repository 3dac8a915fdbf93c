"""The names and shapes of an encoder's weights, computed without torch: planning compares files with them."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence

from ssl_sweep.ssl_core.config.registry import ENCODERS, SMALL_IMAGE, patch_side
from ssl_sweep.ssl_core.encoders.inert_pickle import Shape

Named = Iterator[tuple[str, Shape]]
_DEMO_WIDTHS = (16, 32, 64, 128)


def weight_shapes(encoder: str, image_size: int) -> dict[str, Shape]:
    """The state dict of an encoder of a built-in class, in its order; empty for others, which torch knows."""
    info = ENCODERS.get(encoder)
    if info is None:
        return {}
    options = info.options
    match info.target:
        case "resnets:StandardResNet":
            depths, width = options["depths"], options["width"]
            return dict(_resnet(depths, options["bottleneck"], width, image_size <= SMALL_IMAGE))
        case "vits:StandardViT":
            return dict(_vit(options["feature_dim"], len(info.layers), image_size))
        case "resnets:DemoResNet":
            return dict(_demo())
    return {}


def _resnet(depths: Sequence[int], bottleneck: bool, width: int, small: bool) -> Named:
    before, kernel = 64 * width, 3 if small else 7
    yield "conv1.weight", (before, 3, kernel, kernel)
    yield from _batch_norm("bn1", before)
    for stage, depth in enumerate(depths):
        planes = 64 * width * 2**stage
        for block in range(depth):
            name = f"layer{stage + 1}.{block}"
            shortcut = block == 0 and (stage > 0 or bottleneck)
            before = yield from _block(name, before, planes, bottleneck, shortcut)


def _block(
    name: str, before: int, planes: int, bottleneck: bool, shortcut: bool
) -> Generator[tuple[str, Shape], None, int]:
    """The weights of a block. Returns its channels."""
    after = 4 * planes if bottleneck else planes
    sizes = [(planes, before, 1), (planes, planes, 3), (after, planes, 1)]
    if not bottleneck:
        sizes = [(planes, before, 3), (planes, planes, 3)]
    for number, (outputs, inputs, kernel) in enumerate(sizes, 1):
        yield f"{name}.conv{number}.weight", (outputs, inputs, kernel, kernel)
        yield from _batch_norm(f"{name}.bn{number}", outputs)
    if shortcut:
        yield f"{name}.downsample.0.weight", (after, before, 1, 1)
        yield from _batch_norm(f"{name}.downsample.1", after)
    return after


def _batch_norm(name: str, channels: int) -> Named:
    for part in ("weight", "bias", "running_mean", "running_var"):
        yield f"{name}.{part}", (channels,)
    yield f"{name}.num_batches_tracked", ()


def _vit(width: int, depth: int, image_size: int) -> Named:
    patch = patch_side(image_size)
    yield "class_token", (1, 1, width)
    yield "conv_proj.weight", (width, 3, patch, patch)
    yield "conv_proj.bias", (width,)
    yield "encoder.pos_embedding", (1, (image_size // patch) ** 2 + 1, width)
    for block in range(depth):
        name = f"encoder.layers.encoder_layer_{block}"
        yield from _linear(f"{name}.ln_1.", (width,))
        yield from _linear(f"{name}.self_attention.in_proj_", (3 * width, width))
        yield from _linear(f"{name}.self_attention.out_proj.", (width, width))
        yield from _linear(f"{name}.ln_2.", (width,))
        yield from _linear(f"{name}.mlp.0.", (4 * width, width))
        yield from _linear(f"{name}.mlp.3.", (width, 4 * width))
    yield from _linear("encoder.ln.", (width,))


def _linear(name: str, shape: Shape) -> Named:
    yield f"{name}weight", shape
    yield f"{name}bias", shape[:1]


def _demo() -> Named:
    before = _DEMO_WIDTHS[0]
    yield "stem.0.weight", (before, 3, 3, 3)
    yield from _batch_norm("stem.1", before)
    for block, width in enumerate(_DEMO_WIDTHS):
        before = yield from _block(f"blocks.{block}", before, width, False, True)
