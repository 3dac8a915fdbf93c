"""What is wrong with an address before anybody is asked for it. Addresses are kept with results and printed,
so none may hold a secret."""

from __future__ import annotations

import re
from urllib.parse import unquote, urlsplit

from ssl_sweep.sweep.errors import SECRET_NAME

_PORTED = ("http", "https", "ftp", "sftp", "ssh", "hdfs", "webhdfs")
"""Schemes whose addresses may name a port and, after it, a path with an @; elsewhere what follows the colon
is a password, digits or not."""
_USER = re.compile(r"[^/?#@:\s]*@")
_PASSWORD = re.compile(r"[^\[/?#@:\s][^/?#@:\s]*:.*@|:.*@", re.DOTALL)  # a password may have a / in it
_PORT = re.compile(r"[^/?#@:\s]*:\d{1,5}(?:[/?#]|$)")
_SIGNED = re.compile(rf"[?&;]{SECRET_NAME}=", re.IGNORECASE)

GIVE = "give credentials in the environment, as the store's driver reads them"


def secret_in(address: str) -> str:
    """What secret an address holds, in words; '' for none."""
    scheme, there, rest = address.partition("://")
    if not there:
        return ""
    ported = scheme.lower() in _PORTED and _PORT.match(rest)
    if _USER.match(rest) or (_PASSWORD.match(rest) and not ported):
        return "a user or a password"
    return "a signature or a token" if _SIGNED.search(unquote(rest)) else ""


def malformed(address: str) -> str:
    """Why an address cannot be taken apart, '' where it can."""
    try:
        _ = urlsplit(address).port
    except ValueError as error:
        return str(error)
    return ""
