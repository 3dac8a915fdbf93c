from __future__ import annotations

import itertools
import subprocess
import sys

import pytest

from ssl_sweep.ssl_core.config.pretrain import PretrainConfig, default_config
from ssl_sweep.ssl_core.config.probe import C_PATHS, ProbeConfig
from ssl_sweep.ssl_core.config.registry import METHODS


@pytest.mark.smoke
def test_planning_modules_load_without_torch():
    code = "import ssl_sweep.ssl_core.config.pretrain, ssl_sweep.ssl_core.training.reporter, sys;"
    code += " print({'torch', 'sklearn'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"


@pytest.mark.smoke
def test_presets_are_the_published_ones():
    """The official CIFAR-10 command and the ImageNet recipe of google-research/simclr."""
    cifar = default_config("resnet18", 32, epochs=1000)
    assert (cifar.optimizer, cifar.batch, cifar.temperature, cifar.weight_decay) == ("lars", 512, 0.5, 1e-4)
    assert (cifar.learning_rate, cifar.lr_scaling, cifar.warmup_epochs) == (1.0, "linear", 10)
    assert (cifar.views.blur, cifar.views.brightness, cifar.views.hue) == (0, 0.4, 0.1)
    imagenet = default_config("resnet50", 224)
    assert (imagenet.optimizer, imagenet.temperature, imagenet.weight_decay) == ("lars", 0.1, 1e-6)
    assert (imagenet.views.blur, imagenet.views.blur_kernel, imagenet.views.brightness) == (0.5, 23, 0.8)


def test_presets_of_the_rivals_are_the_published_ones():
    moco = default_config("resnet50", 224, method="moco-v2", epochs=200)
    assert (moco.optimizer, moco.peak_learning_rate, moco.batch, moco.weight_decay) == (
        "sgd",
        0.03,
        256,
        1e-4,
    )
    assert (moco.temperature, moco.momentum_encoder, moco.queue, moco.head_layers) == (0.2, 0.999, 0, 2)
    assert (moco.warmup_epochs, moco.views.scale, moco.views.hue, moco.views.blur) == (
        0,
        (0.2, 1.0),
        0.1,
        0.5,
    )
    short = default_config("resnet18", 32, method="moco-v2", epochs=200)
    assert (short.momentum_encoder, short.queue, short.temperature) == (0.99, 4096, 0.1)
    assert default_config("resnet18", 32, method="moco-v2", batch=100).queue == 0, "4096 is no multiple of it"

    byol = default_config("resnet50", 224, method="byol", epochs=1000)
    assert (byol.optimizer, byol.learning_rate, byol.lr_scaling, byol.batch) == ("lars", 0.2, "linear", 4096)
    assert (byol.weight_decay, byol.momentum_encoder, byol.head_dim) == (1.5e-6, 0.996, 256)
    assert byol.views2 is not None and (byol.views.blur, byol.views2.blur, byol.views2.solarize) == (
        1,
        0.1,
        0.2,
    )
    middle = default_config("resnet50", 224, method="byol", epochs=300)
    assert (middle.learning_rate, middle.weight_decay, middle.momentum_encoder) == (0.3, 1e-6, 0.99)
    alike = default_config("resnet50", 224, method="byol", views=byol.views)
    assert alike.views2 is None, "whoever sets the views sets both"


@pytest.mark.smoke
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("encoder", "size"), [("resnet-demo", 32), ("resnet18", 32), ("resnet50", 224)])
def test_every_method_has_a_preset(method, encoder, size):
    assert default_config(encoder, size, method=method, epochs=7).method == method


def test_short_schedules_warm_up_for_a_tenth():
    assert default_config("resnet-demo", 32, epochs=5).warmup_epochs == 0.5
    assert default_config("resnet-demo", 32, epochs=5, warmup_epochs=2).warmup_epochs == 2
    assert default_config("resnet-demo", 32, epochs=800).warmup_epochs == 10


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("method", "simcrl"),
        ("encoder", "resnet19"),
        ("optimizer", "adam"),
        ("lr_scaling", "none"),
        ("precision", "float16"),
        ("epochs", 0),
        ("batch", 1),
        ("seed", -1),
        ("learning_rate", float("nan")),
        ("learning_rate", 0.0),
        ("warmup_epochs", 100),
        ("weight_decay", -1.0),
        ("temperature", 0.0),
        ("head_layers", 4),
        ("head_dim", 0),
        ("image_size", 64),
        ("steps", -1),
        ("momentum", 1.0),
        ("momentum_encoder", 1.5),
        ("queue", 100),
        ("predictor_dim", -1),
        ("grad_clip", -1.0),
        ("lars_form", "you"),
    ],
)
def test_values_out_of_range_are_named(field, value):
    views = default_config("resnet-demo", 32).views
    with pytest.raises(ValueError) as error:
        PretrainConfig(views=views, **{field: value})
    expected = "views.size" if field == "image_size" else field
    assert str(error.value).startswith(f"{expected} is ") and "use " in str(error.value)


@pytest.mark.parametrize(
    "change", [{"cs": ()}, {"cs": (1.0, 0.1)}, {"folds": 1}, {"tol": 0.0}, {"max_iter": 0}]
)
def test_probe_values_out_of_range(change):
    with pytest.raises(ValueError, match=f"{next(iter(change))} is "):
        ProbeConfig(**change)


def test_probe_default_has_7_log_spaced_strengths():
    cs = ProbeConfig().cs
    assert len(cs) == 7
    assert all(later / earlier == pytest.approx(10) for earlier, later in itertools.pairwise(cs))


def test_gradients_are_not_accumulated():
    """Trap 6: negatives and batch statistics of parts of a batch are not those of the batch."""
    with pytest.raises(TypeError, match="accumulate"):
        default_config("resnet-demo", 32, accumulate=2)


def test_unknown_override():
    with pytest.raises(TypeError, match="epoch"):
        default_config("resnet-demo", 32, epoch=3)


def test_the_path_of_simclr_and_the_names_of_paths():
    cs = C_PATHS["simclr"]
    assert len(cs) == 45 and (cs[0], cs[-1]) == (1e-6, 1e5)
    assert all(
        later / earlier == pytest.approx(10**0.25, rel=1e-5) for earlier, later in itertools.pairwise(cs)
    )
    assert ProbeConfig().c_path == "default" and ProbeConfig(cs=cs).c_path == "simclr"
    assert ProbeConfig(cs=cs[:3]).c_path == "custom"


def test_a_size_that_an_encoder_cannot_take_is_refused_before_anything_is_built():
    """Row of faults: size 17 with vit-s was accepted and failed in the run."""
    for encoder, size, patch in (("vit-s", 17, 4), ("vit-s", 65, 16), ("vit-b", 100, 16)):
        with pytest.raises(
            ValueError, match=rf"image_size is {size}; use a multiple of {patch}: {encoder} cuts"
        ):
            default_config(encoder, size)
    for encoder, size in (("vit-s", 16), ("vit-s", 96), ("resnet18", 17), ("resnet-demo", 17)):
        assert default_config(encoder, size).image_size == size
