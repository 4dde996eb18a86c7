"""What the environment says of a connection: proxies and certificates. What cannot be used is named, never guessed.

Source      the variables that curl and Python read: HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY (`urllib.request` takes
            the system's settings where it has some); SSL_CERT_FILE and SSL_CERT_DIR as OpenSSL has them
Local       a target on this machine needs no proxy and gets none
"""

import ipaddress
import os
import ssl
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.request import getproxies

import httpx

from gamekeeper.errors import BadConfig


@dataclass(frozen=True)
class Route:
    """How to reach a target. via: what to say of the proxy in a message; empty without one."""

    proxy: httpx.Proxy | None = None
    via: str = ""


def route(url: str) -> Route:
    """The way to an address. Raises BadConfig for a proxy that cannot be used."""
    target, settings = httpx.URL(url), getproxies()
    scheme = next((kind for kind in (target.scheme, "all") if settings.get(kind)), None)
    if scheme is None or local(target.host) or bypassed(target, settings.get("no", "")):
        return Route()
    name, given = variable(scheme), settings[scheme]
    given = given if "://" in given else f"http://{given}"
    advice = f"Correct it, unset it, or add {target.host} to NO_PROXY."
    try:
        proxy = httpx.URL(given)
    except httpx.InvalidURL:
        raise BadConfig(f"{name} is not the address of a proxy. {advice}") from None
    if proxy.scheme not in ("http", "https") or not proxy.host:
        raise BadConfig(
            f"{name} names a proxy of the kind {proxy.scheme}://, which gamekeeper cannot use; it takes http:// and"
            f" https://. {advice}"
        )
    return Route(httpx.Proxy(proxy), f" through the proxy {proxy.host} of {name}")


def variable(scheme: str) -> str:
    """The variable that is set, as it is spelled."""
    upper = f"{scheme}_proxy".upper()
    return next((name for name in (upper.lower(), upper) if os.environ.get(name)), f"{upper} (of this system)")


def local(host: str) -> bool:
    """Whether a host is this machine."""
    with suppress(ValueError):
        address = ipaddress.ip_address(host)
        return address.is_loopback or address.is_unspecified
    return host == "localhost" or host.endswith(".localhost")


def bypassed(target: httpx.URL, no_proxy: str) -> bool:
    """Whether NO_PROXY lists the target: by name, suffix, address or network, with or without a port."""
    return any(matches(target, entry.strip().lower()) for entry in no_proxy.split(","))


def matches(target: httpx.URL, entry: str) -> bool:
    entry = entry.rpartition("://")[2]
    if entry == "*":
        return True
    if not entry:
        return False
    host = target.host.lower()
    with suppress(ValueError):
        return ipaddress.ip_address(host) in ipaddress.ip_network(entry.strip("[]"), strict=False)
    name, colon, port = entry.rpartition(":")
    if colon and port.isdecimal() and not entry.endswith("]"):
        standard = {"http": 80, "https": 443}.get(target.scheme)
        return int(port) == (target.port or standard) and matches(target, name)
    suffix = entry.removeprefix("*").lstrip(".")
    return host == suffix or host.endswith("." + suffix)


def certificates(url: str, verify: bool, through: Route) -> ssl.SSLContext | bool:
    """Whom to trust. Raises BadConfig for certificates of the environment that cannot be read."""
    if not verify or (httpx.URL(url).scheme == "http" and through.proxy is None):
        return False
    file, folder = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    name, given = ("SSL_CERT_FILE", file) if file else ("SSL_CERT_DIR", folder or "")
    advice = "Correct it, or unset it to trust the usual authorities."
    if not file and folder and not Path(folder).is_dir():
        raise BadConfig(f"{name} names {folder}, which is not a folder. {advice}")
    try:
        if file:
            return ssl.create_default_context(cafile=file)
        return ssl.create_default_context(capath=folder) if folder else httpx.create_ssl_context(trust_env=False)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise BadConfig(f"{name} names {given}, which cannot be read as certificates ({reason}). {advice}") from None
