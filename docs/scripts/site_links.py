"""MkDocs hook: links to files of the repository outside docs/ become their paths as code.

On GitHub such a link opens the file. The site does not hold these files, and a strict build refuses the link.
"""

from __future__ import annotations

import os
import re
from typing import Any

_LINK = re.compile(r"(?<!!)\[[^\]\n]*\]\((?P<target>\.\./[^)\s#]*)(?:#[^)\s]*)?\)")


def on_page_markdown(markdown: str, *, page: Any, config: Any, files: Any) -> str:
    """The page's text, with each link that leaves docs/ replaced."""
    folder = os.path.dirname(page.file.src_uri)

    def replaced(match: re.Match[str]) -> str:
        target = os.path.normpath(os.path.join("docs", folder, match["target"]))
        return match[0] if target.startswith("docs" + os.sep) else f"`{target}`"

    return _LINK.sub(replaced, markdown)
