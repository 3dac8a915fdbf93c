"""Image files in one folder per class, and optionally a folder of images without labels."""

from __future__ import annotations

import dataclasses
import os
import re
from pathlib import Path

from ssl_sweep.data_ops.dataset.passed_over import Tally
from ssl_sweep.data_ops.dataset.prepared import Split
from ssl_sweep.data_ops.errors import DataError, about
from ssl_sweep.data_ops.sources.listing import FileImage, Listing, list_files, printable
from ssl_sweep.data_ops.sources.options import SplitHere, option
from ssl_sweep.data_ops.sources.walk import entries, images_below, is_folder, is_image_file, pass_over


@dataclasses.dataclass(frozen=True)
class FolderSource(SplitHere):
    """Image files in one sub-folder per class.

    Folders inside a class folder belong to the class.
    """

    train: str = option("The folder. ${VAR} is expanded.", path=True)
    test: str | None = option("The same for the test images.", None, path=True)
    unlabelled: str | None = option(
        "A folder of images without labels, at any depth; they are used for pretraining only.",
        None,
        path=True,
        later=True,
    )
    group: str | None = option(
        "Regular expression for paths below the folder; its capture group gives the image's group. An image"
        " without a match has no group.",
        None,
        later=True,
    )

    def listing(self, split: Split) -> Listing | None:
        """The images of a split.

        Raises:
            DataError: A folder is missing or empty, or the expression does not have one capture group.
        """
        root = self.train if split == "train" else self.test
        if root is None:
            return None
        group, tally = _compile_group(self.group), Tally()
        images = [FileImage(path, (name,), _group_of(group, path, root)) for path, name in files(root, tally)]
        if split == "train" and self.unlabelled is not None:
            top = self.unlabelled
            if not Path(top).is_dir():
                raise DataError(f"{top}: no such folder; it should contain the unlabelled images")
            more = [
                FileImage(path, (None,), _group_of(group, path, top)) for path in images_below(top, tally)
            ]
            if not more:
                raise DataError(f"{top}: no images; put images there, or remove unlabelled")
            images += more
        return list_files(images, passed_over=tally.found)


def files(root: str, tally: Tally) -> list[tuple[str, str]]:
    """(file, class name) of every image file, in name order; what is passed over is counted.

    Raises:
        DataError: The folder is missing or has no class folders, or a class has no images.
    """
    top = Path(root)
    if not top.is_dir():
        raise DataError(f"{root}: no such folder; give one with a sub-folder of images per class")
    found: list[tuple[str, str]] = []
    classes = []
    for entry in entries(top, tally):
        if is_folder(entry):
            classes.append(entry)
        elif is_image_file(entry):
            tally.add("images beside the class folders", printable(entry.path), "lost")
        else:
            pass_over(entry.path, tally)
    if not classes:
        raise DataError(
            f"{root}: no class sub-folders; put the images of each class into a folder with its name"
        )
    for folder in classes:
        images = images_below(folder.path, tally)
        if not images:
            raise DataError(f"{printable(folder.path)}: class folder without images; fill it or remove it")
        found += [(path, printable(folder.name)) for path in images]
    return found


def _compile_group(pattern: str | None) -> re.Pattern[str] | None:
    """Compile, and raise DataError unless the expression has exactly one capture group."""
    if pattern is None:
        return None
    with about("group"):
        return _one_group(pattern)


def _one_group(pattern: str) -> re.Pattern[str]:
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise DataError(
            f"group {pattern!r} is not a valid regular expression ({error}); correct it"
        ) from error
    if compiled.groups != 1:
        raise DataError(
            f"group {pattern!r} has {compiled.groups} capture groups; put exactly one part in parentheses"
        )
    return compiled


def _group_of(pattern: re.Pattern[str] | None, path: str, root: str) -> str | None:
    """What the expression captures from a path below its root."""
    found = pattern and pattern.search(printable(os.path.relpath(path, root)))
    return found[1] if found else None
