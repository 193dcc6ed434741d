"""How this machine reaches an https server: the certificates it trusts, and the proxy that the environment names.

Every HTTP library of the package takes both from here, so that the first look at a server and the run agree.
"""

from __future__ import annotations

import ipaddress
import os
import ssl
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

from sdg_helpers.errors import SdgError

_BUNDLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")  # variables that name further certificates


def ssl_context() -> ssl.SSLContext:
    """Return a context that trusts the system's certificates and those that the usual variables name.

    A Python without a system store (some are built so) trusts certifi's list instead. Raises SdgError when a variable
    names a file that holds no certificates.
    """
    context = ssl.create_default_context()
    paths = ssl.get_default_verify_paths()
    if not (paths.cafile or (paths.capath and any(Path(paths.capath).iterdir()))):
        import certifi

        context.load_verify_locations(certifi.where())
    for name in _BUNDLES:
        if path := os.environ.get(name, "").strip():
            try:
                context.load_verify_locations(**{"capath" if Path(path).is_dir() else "cafile": path})
            except OSError as error:
                raise SdgError(
                    f"{name}={path}: cannot read certificates from it ({error}). Correct or unset the variable."
                ) from None
    return context


def proxy_for(url: str) -> str | None:
    """Return the proxy for an address, from HTTPS_PROXY or else ALL_PROXY; None to connect directly.

    http addresses are servers of the user's own network and never go through a proxy, nor does this machine; NO_PROXY
    names further exceptions. Raises SdgError for a kind of proxy that is not supported.
    """
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".")
    if parts.scheme != "https" or _is_exempt(host, parts.port or 443):
        return None
    for kind in ("https", "all"):
        if proxy := urllib.request.getproxies().get(kind):
            proxy = proxy if "://" in proxy else f"http://{proxy}"
            if urlsplit(proxy).scheme not in ("http", "https"):
                shown = urlsplit(proxy)._replace(netloc=urlsplit(proxy).netloc.rpartition("@")[2]).geturl()
                raise SdgError(
                    f"{kind.upper()}_PROXY={shown}: only http:// and https:// proxies are supported. Use the proxy's "
                    f"HTTP port if it has one, or add {host} to NO_PROXY to connect to it directly."
                )
            return proxy
    return None


def is_loopback(host: str) -> bool:
    """Return whether a host name is this machine's own."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _is_exempt(host: str, port: int) -> bool:
    listed = urllib.request.getproxies().get("no", "")
    return (
        is_loopback(host)
        or any(_matches(host, port, entry) for entry in listed.replace(",", " ").split())
        or bool(urllib.request.proxy_bypass(host))
    )


def _matches(host: str, port: int, entry: str) -> bool:
    """Return whether an entry of NO_PROXY (a host, a domain, host:port, an address, a network or *) covers a host."""
    entry = entry.rpartition("://")[2].lower()
    if entry == "*":
        return True
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(entry.strip("[]"), strict=False)
    except ValueError:
        pass
    name, colon, wanted = entry.rpartition(":")
    if colon and wanted.isdigit():
        if int(wanted) != port:
            return False
        entry = name
    entry = entry.strip("[]").removeprefix("*").lstrip(".")
    return bool(entry) and (host == entry or host.endswith(f".{entry}"))
