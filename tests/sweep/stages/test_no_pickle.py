"""Nothing that is read can run code: no pickle, and arrays, weights and YAML by their safe readers."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from ssl_sweep.data_ops.dataset.prepared import PreparedDataset

ROOT = Path(__file__).parents[3]
PICKLES = {"pickle", "cPickle", "_pickle", "dill", "joblib", "shelve", "marshal"}
OWN_UNPICKLER = "data_ops/sources/cifar.py"  # published pickles, by an unpickler that makes arrays alone
REQUIRED = {
    "np.load": "allow_pickle=False",
    "np.lib.format.read_array": "allow_pickle=False",
    "torch.load": "weights_only=True",
    "yaml.load": "Loader=yaml.SafeLoader",
    "yaml.compose": "Loader=yaml.SafeLoader",
}
FORBIDDEN = {"eval", "exec", "__import__", "pd.read_pickle", "torch.jit.load", "yaml.unsafe_load"}


def faults(source: str) -> Iterator[str]:
    """Imports of pickles, and calls that could open one."""
    for stage in ast.walk(ast.parse(source)):
        match stage:
            case ast.Import(names=names):
                modules = [alias.name for alias in names]
            case ast.ImportFrom(module=str(module)):
                modules = [module]
            case ast.Call(func=func, keywords=keywords):
                called, given = ast.unparse(func), {f"{k.arg}={ast.unparse(k.value)}" for k in keywords}
                if called in FORBIDDEN or REQUIRED.get(called, "") not in {"", *given}:
                    yield f"{stage.lineno}: {called}"
                if {"allow_pickle=True", "weights_only=False"} & given:
                    yield f"{stage.lineno}: {given}"
                continue
            case _:
                continue
        yield from (f"{stage.lineno}: import {m}" for m in modules if m.split(".")[0] in PICKLES)


@pytest.mark.smoke
def test_no_reader_can_run_code() -> None:
    files = [
        ROOT / "cli.py",
        *(p for part in ("data_ops", "ssl_core", "sweep") for p in (ROOT / part).rglob("*.py")),
    ]
    assert len(files) > 200
    names = {str(path.relative_to(ROOT)): path for path in files}
    del names[OWN_UNPICKLER]
    assert [f"{name}:{fault}" for name, path in names.items() for fault in faults(path.read_text())] == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from joblib import load",
        "np.load(path)",
        "np.load(path, allow_pickle=True)",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "pd.read_pickle(path)",
        "yaml.load(text)",
        "eval(text)",
    ],
)
def test_the_check_finds_what_it_looks_for(source: str) -> None:
    assert list(faults(source))


@pytest.mark.smoke
def test_an_array_of_objects_is_refused(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> object:
            return (Path.touch, (tmp_path / "ran",))

    (tmp_path / "dataset.json").write_text(
        '{"fingerprint": "f", "size": 8, "n_train": 1, "n_test": 0, "levels": ["class"],'
        ' "class_names": [["a"]], "parents": []}'
    )
    np.save(tmp_path / "train_keys.npy", np.array([Evil()], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="allow_pickle=False"):
        PreparedDataset(tmp_path).keys("train")
    assert not (tmp_path / "ran").exists()
