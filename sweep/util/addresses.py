"""Checks of addresses before they are used, and addresses without their secrets.

Addresses are kept with results and printed, so none may hold a password or a token.
"""

from __future__ import annotations

import os
import re
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies_environment, proxy_bypass

DEFAULT_STORE = "ssl-sweep-store"
"""The store, a folder of the current directory, if no address is given."""
CREDENTIALS_HINT = "put credentials into the environment variables that its driver reads"

_NAMES = "signature|token|secret|passw(?:or)?d|credential|access_?key_?id|access_?id|api_?-?key"
_SECRET_NAME = rf"(?:[\w%.-]*(?:{_NAMES})|sig)"  # of a signature or token in a query; case does not matter
_SECRET = re.compile(rf"([?&;]{_SECRET_NAME}=)[^&;\s'\"]+", re.IGNORECASE)
_USERINFO = re.compile(r"://[^\s'\"]*@")

_PORTED = ("http", "https", "ftp", "sftp", "ssh", "hdfs", "webhdfs")
"""Schemes whose addresses may name a port and, after it, a path with an @. With any other scheme, what
follows the colon is a password, even if it is all digits."""
_USER = re.compile(r"[^/?#@:\s]*@")
_PASSWORD = re.compile(r"[^\[/?#@:\s][^/?#@:\s]*:.*@|:.*@", re.DOTALL)  # a password may have a / in it
_PORT = re.compile(r"[^/?#@:\s]*:\d{1,5}(?:[/?#]|$)")
_LOOPBACK = ("localhost", "127.0.0.1", "::1", "[::1]")
_SIGNED = re.compile(rf"[?&;]{_SECRET_NAME}=", re.IGNORECASE)


def masked(text: str) -> str:
    """``text`` with ``***`` for the users, passwords and signatures of the addresses in it.

    Messages are kept, printed and mailed.
    """
    return _SECRET.sub(r"\1***", _USERINFO.sub("://***@", text))


def secret_in(address: str) -> str:
    """The kind of secret that an address holds, in words; '' if it holds none."""
    scheme, separator, rest = address.partition("://")
    if not separator:
        return ""
    ported = scheme.lower() in _PORTED and _PORT.match(rest)
    if _USER.match(rest) or (_PASSWORD.match(rest) and not ported):
        return "a user or a password"
    return "a signature or a token" if _SIGNED.search(unquote(rest)) else ""


def malformed(address: str) -> str:
    """Why an address cannot be parsed; '' if it can."""
    try:
        _ = urlsplit(address).port
    except ValueError as error:
        return str(error)
    return ""


def reach_loopback_directly() -> None:
    """Exempt this machine's own addresses from the proxies of ``http_proxy`` and similar variables.

    A proxy cannot reach a server or a tunnel on this machine. Child processes inherit the exemption.
    """
    if not getproxies_environment().keys() - {"no"}:
        return
    known = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    if known.strip() == "*":  # every address; it counts only alone
        return
    exempt = dict.fromkeys([*filter(None, map(str.strip, known.split(","))), *_LOOPBACK])
    os.environ["no_proxy"] = os.environ["NO_PROXY"] = ",".join(exempt)


def proxy_for(address: str) -> str:
    """The proxy that requests to ``address`` go through, without its password; '' for none."""
    parts = urlsplit(address)
    proxies = getproxies_environment()
    proxy = proxies.get(parts.scheme) or proxies.get("all") or ""
    return "" if proxy_bypass(parts.netloc, proxies) else masked(proxy)
