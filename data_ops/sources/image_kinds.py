"""Which files are images: the one rule for every source, by name and, for unknown names, by first bytes.

A file whose suffix is known is never opened to find out. What systems and archives leave behind is junk.
"""

from __future__ import annotations

import os
import re
from typing import Literal

Kind = Literal["image", "text", "other", "unknown"]

IMAGE_SUFFIXES = frozenset(
    """
    .apng .avif .avifs .blp .bmp .bw .cur .dcx .dds .dib .fit .fits .flc .fli .ftc .ftu .gbr .gif .heic .heics
    .heif .heifs .hif .icb .icns .ico .iim .im .j2c .j2k .jfif .jif .jp2 .jpc .jpe .jpeg .jpf .jpg .jpx .mpo
    .msp .pbm .pcd .pcx .pfm .pgm .png .pnm .ppm .psd .pxr .qoi .ras .rgb .rgba .sgi .tga .tif .tiff .vda .vst
    .webp .xbm .xpm
    """.split()  # noqa: SIM905
)
"""What Pillow opens, and what it opens with a reader that can be installed."""
TEXT_SUFFIXES = frozenset(
    """
    .cfg .cls .csv .geojson .ini .json .jsonl .label .labels .license .log .md .md5 .mtl .rst .sha1 .sha256
    .text .toml .tsv .txt .url .xml .xmp .yaml .yml
    """.split()  # noqa: SIM905
)
"""Texts about images: labels, annotations, notes and checksums."""
OTHER_SUFFIXES = frozenset(
    """
    .7z .arrow .avi .bz2 .db .doc .docx .emf .eps .exe .gz .h5 .hdf .hdf5 .html .ipynb .lock .m4v .mat .mkv
    .mov .mp3 .mp4 .mpeg .mpg .npy .npz .odt .parquet .pdf .pickle .pkl .ppt .pptx .ps .pt .pth .py .pyc .rar
    .safetensors .sh .sqlite .svg .svgz .tar .tfrecord .tgz .wav .webm .wmf .xls .xlsx .xz .zip .zst
    """.split()  # noqa: SIM905
)
"""Other kinds of file that Pillow does not read."""
_MACOS, _WINDOWS = "files that macOS leaves behind", "files that Windows leaves behind"
_NAS, _SYSTEM = "folders of a NAS system", "folders of the system"
JUNK = {
    "__macosx": _MACOS,
    "icon\r": _MACOS,
    "network trash folder": _MACOS,
    "temporary items": _MACOS,
    "thumbs.db": _WINDOWS,
    "ehthumbs.db": _WINDOWS,
    "ehthumbs_vista.db": _WINDOWS,
    "desktop.ini": _WINDOWS,
    "$recycle.bin": _WINDOWS,
    "system volume information": _WINDOWS,
    "@eadir": _NAS,
    "@recycle": _NAS,
    "@recently-snapshot": _NAS,
    "#recycle": _NAS,
    "#snapshot": _NAS,
    "lost+found": _SYSTEM,
    "__pycache__": _SYSTEM,
    "picasa.ini": "files of a file manager",
    "zbthumbnail.info": "files of a file manager",
}
"""Names of files and folders, in small letters, that are not data, and what they are. All hidden names are
junk too: ``._*``, ``.DS_Store``, ``.ipynb_checkpoints``, ``.thumbnails``, ``.@__thumb``, ``.Trash-1000``."""

HEAD = 32
"""How many first bytes of a file ``starts_as_image`` needs."""
_STARTS = (
    b"\xff\xd8\xff",  # JPEG
    b"\x89PNG\r\n\x1a\n",
    b"GIF87a",
    b"GIF89a",
    b"II*\0",  # TIFF
    b"MM\0*",
    b"II+\0",  # BigTIFF
    b"MM\0+",
    b"8BPS\0\1",  # Photoshop
    b"icns",
    b"DDS ",
    b"qoif",
    b"\0\0\0\x0cjP  \r\n\x87\n",  # JPEG 2000
    b"\xff\x4f\xff\x51",
    b"\x59\xa6\x6a\x95",  # Sun raster
    b"SIMPLE  =",  # FITS
    b"/* XPM */",
    b"BLP1",
    b"BLP2",
)
_PATTERNS = (
    re.compile(rb"RIFF....WEBP", re.DOTALL),
    re.compile(rb"....ftyp(avif|avis|heic|heix|heim|heis|hevc|hevx|mif1|msf1)", re.DOTALL),
    re.compile(rb"BM....\0\0\0\0....[\x0c\x28\x38\x40\x6c\x7c]\0\0\0", re.DOTALL),  # BMP
    re.compile(rb"P[1-6]\s+(#|\d)"),  # PBM, PGM, PPM
    re.compile(rb"P[fF]\s+\d+\s+\d+\s"),  # PFM
    re.compile(rb"\0\0[\1\2]\0[\1-\x40]\0[\0-\xff]{2}[\0-\xff]\0", re.DOTALL),  # icon, cursor
    re.compile(rb"\x01\xda[\0\1][\1\2]\0[\1-\3]"),  # SGI
)


def junk(name: str) -> str:
    """What a file or folder of this name is, if it is not data; else an empty string."""
    if name.startswith("._"):
        return _MACOS
    if name.startswith(".") and name != ".":  # tar archives of a folder begin their names with ./
        return "hidden files"
    return JUNK.get(name.lower(), "")


def kind_of(name: str) -> Kind:
    """What a name says that a file is."""
    suffix = os.path.splitext(name)[1].lower()
    if suffix in IMAGE_SUFFIXES:
        return "image"
    if suffix in TEXT_SUFFIXES:
        return "text"
    return "other" if suffix in OTHER_SUFFIXES else "unknown"


def starts_as_image(head: bytes) -> bool:
    """Whether the first ``HEAD`` bytes of a file are those of an image."""
    return head.startswith(_STARTS) or any(pattern.match(head) for pattern in _PATTERNS)


def described(name: str) -> str:
    """What the files of a name are called when they are counted."""
    suffix = os.path.splitext(name)[1].lower()
    return f"'{suffix}' files" if suffix else "files without a suffix"
