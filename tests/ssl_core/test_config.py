from __future__ import annotations

import itertools
import subprocess
import sys

import pytest

from ssl_core.config import PretrainConfig, ProbeConfig, default_config


def test_planning_modules_load_without_torch():
    code = "import ssl_core.config, ssl_core.reporter, sys; print({'torch', 'sklearn'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"


def test_presets_are_the_published_ones():
    """The official CIFAR-10 command and the ImageNet recipe of google-research/simclr."""
    cifar = default_config("resnet18", 32, epochs=1000)
    assert (cifar.optimizer, cifar.batch, cifar.temperature, cifar.weight_decay) == ("lars", 512, 0.5, 1e-4)
    assert (cifar.learning_rate, cifar.lr_scaling, cifar.warmup_epochs) == (1.0, "linear", 10)
    assert (cifar.views.blur, cifar.views.brightness, cifar.views.hue) == (0, 0.4, 0.1)
    imagenet = default_config("resnet50", 224)
    assert (imagenet.optimizer, imagenet.temperature, imagenet.weight_decay) == ("lars", 0.1, 1e-6)
    assert (imagenet.views.blur, imagenet.views.blur_kernel, imagenet.views.brightness) == (0.5, 23, 0.8)


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


def test_unknown_override():
    with pytest.raises(TypeError, match="epoch"):
        default_config("resnet-demo", 32, epoch=3)
