"""Which weights of a file are an encoder's: under any prefix, by torchvision's names or timm's."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ssl_sweep.ssl_core.encoders.inert_pickle import Shape

_WRAPPERS = re.compile(r"(?:^|(?<=\.))_(?:orig_mod|checkpoint_wrapped_module|fsdp_wrapped_module)\.")
"""What torch's compile, checkpoint and FSDP wrappers put anywhere in a name."""
_CLASSIFIERS = ("fc.", "heads.", "head.", "classifier.")
_IGNORED = re.compile(r"num_batches_tracked$")  # missing in old files, and unused in eval mode
_SHOWN = 4  # names that a message lists
_BESIDE = (("encoder_k", "encoder_q"), ("student", "teacher"), ("target", "online"))
"""If one file has two networks, the second is evaluated: MoCo's ``main_lincls.py``, DINO's ``eval_linear.py``
by default, and BYOL."""
# Names of a ViT, in torchvision and in timm; {} is the number of a block.
_VIT = (
    ("class_token", "cls_token"),
    ("conv_proj.", "patch_embed.proj."),
    ("encoder.pos_embedding", "pos_embed"),
    ("encoder.layers.encoder_layer_{}.ln_1.", "blocks.{}.norm1."),
    ("encoder.layers.encoder_layer_{}.ln_2.", "blocks.{}.norm2."),
    ("encoder.layers.encoder_layer_{}.self_attention.in_proj_", "blocks.{}.attn.qkv."),
    ("encoder.layers.encoder_layer_{}.self_attention.out_proj.", "blocks.{}.attn.proj."),
    ("encoder.layers.encoder_layer_{}.mlp.0.", "blocks.{}.mlp.fc1."),
    ("encoder.layers.encoder_layer_{}.mlp.3.", "blocks.{}.mlp.fc2."),
    ("encoder.ln.", "norm."),
)


def fitting_names(given: Mapping[str, Shape], expected: Mapping[str, Shape]) -> dict[str, str]:
    """For each of the encoder's names that the file has, the name in the file.

    The encoder is looked for under every prefix, by names and shapes. A classifier beside it, and everything
    under other prefixes, is left out. If a file has two encoders of one method, the one that its
    authors evaluate is taken.

    Args:
        given: The shapes in the file, by name.
        expected: The shapes of the encoder, by torchvision's name.

    Raises:
        ValueError: No prefix has all weights of the encoder and nothing else, or more than one has them.
    """
    plain = {_WRAPPERS.sub("", name): name for name in given}
    first = next(iter(expected))
    prefixes = dict.fromkeys(
        name[: -len(end)]
        for name in plain
        for end in (first, to_timm(first))
        if name == end or name.endswith(f".{end}")
    )
    found = {prefix: _under(prefix, plain) for prefix in prefixes}
    faults = {prefix: _faults(names, given, expected) for prefix, names in found.items()}
    whole = _evaluated([prefix for prefix in prefixes if not any(faults[prefix])])
    if len(whole) > 1:
        raise ValueError(
            f"has this encoder {len(whole)} times, under {_listed([repr(p) for p in whole])}; choose "
            "one, strip its prefix from its names, and save only these"
        )
    if whole:
        return {name: original for name, original in found[whole[0]].items() if name in expected}
    if not prefixes:
        raise ValueError(
            f"has no weight {first!r}, under any prefix; its names are {_listed(sorted(plain))}: use the "
            "encoder of these weights, and torchvision's or timm's names"
        )
    best = min(prefixes, key=lambda prefix: sum(map(len, faults[prefix])))
    raise ValueError(_misfit(best, faults[best], found[best], given, expected))


def _under(prefix: str, plain: Mapping[str, str]) -> dict[str, str]:
    """The names under a prefix, as torchvision's and without a classifier, and those in the file."""
    names = {name.removeprefix(prefix): one for name, one in plain.items() if name.startswith(prefix)}
    if any(name.startswith("blocks.") and ".attn." in name for name in names):
        names = {from_timm(name): one for name, one in names.items()}
    return {name: one for name, one in names.items() if not name.startswith(_CLASSIFIERS)}


def _faults(
    names: Mapping[str, str], given: Mapping[str, Shape], expected: Mapping[str, Shape]
) -> tuple[list[str], list[str], list[str]]:
    """The weights that are missing, those left over, and those of another shape."""
    missing = [name for name in expected if name not in names and not _IGNORED.search(name)]
    left_over = [name for name in names if name not in expected]
    shapes = [name for name in expected if name in names and given[names[name]] != expected[name]]
    return missing, left_over, shapes


def _evaluated(prefixes: list[str]) -> list[str]:
    """The prefixes without those of a network that only helps to train another one here."""
    parts = {prefix: set(prefix.split(".")) for prefix in prefixes}
    return [
        prefix
        for prefix in prefixes
        if not any(
            helper in parts[prefix] and any(main in parts[other] for other in prefixes)
            for helper, main in _BESIDE
        )
    ]


def _misfit(
    prefix: str,
    faults: tuple[list[str], list[str], list[str]],
    names: Mapping[str, str],
    given: Mapping[str, Shape],
    expected: Mapping[str, Shape],
) -> str:
    missing, left_over, shapes = faults
    under = f" under the prefix {prefix!r}" if prefix else ""
    if 2 * (len(missing) + len(shapes)) > len(expected):
        n = len(expected) - len(missing) - len(shapes)
        return f"has only {n} of its {len(expected)} weights{under}; use the encoder of these weights"
    problems = []
    if missing:
        problems.append(f"it lacks {_listed(missing)}")
    if left_over:
        problems.append(f"it also has {_listed(left_over)}")
    if shapes:
        first = shapes[0]
        problems.append(
            f"{_listed(shapes)} {'has' if len(shapes) == 1 else 'have'} another shape "
            f"({first} is {given[names[first]]}, the encoder has {expected[first]})"
        )
    hint = "use the encoder of these weights"
    if any(name in shapes for name in ("conv1.weight", "conv_proj.weight")):
        hint += ", and an image_size on the same side of 64 px: up to there stems and patches are smaller"
    elif "encoder.pos_embedding" in shapes:
        hint += ", and the image_size of their training"
    return f"does not fit{under}: {'; '.join(problems)}; {hint}"


def _listed(names: list[str]) -> str:
    rest = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + rest


def from_timm(name: str) -> str:
    """torchvision's name for a weight of a timm ViT."""
    return _renamed(name, [(timm, ours) for ours, timm in _VIT])


def to_timm(name: str) -> str:
    """timm's name for a weight of a torchvision ViT."""
    return _renamed(name, list(_VIT))


def _renamed(name: str, pairs: list[tuple[str, str]]) -> str:
    for old, new in pairs:
        pattern = re.escape(old).replace(r"\{\}", r"(\d+)")
        if match := re.match(pattern, name):
            return new.format(*match.groups()) + name[match.end() :]
    return name
