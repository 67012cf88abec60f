"""Host certificates that an authority made for the gateway's own keys: sshd_config(5), HostCertificate.

``[listener.options] host_certificate`` names their files, which are read at each connection: a renewed one is shown to
the next client. Their keys are ``[listener.secrets] host_keys``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import attrs
from twisted.logger import Logger

from hoopproxy.protocols.ssh.certs import FOREVER, HOST, Certificate, read_certificate
from hoopproxy.protocols.ssh.keys import BadKey, blob_of, read_public_text

if TYPE_CHECKING:
    from hoopproxy.protocols.ssh.transport import HostKey

__all__ = ["CERTIFICATE_BYTES", "certificate_problems", "certified", "host_certificates", "option_problems"]

CERTIFICATE_BYTES: Final = 64 << 10
"""Bytes of a ``-cert.pub`` file: one of a thousand principals."""

_OPTION: Final = "host_certificate"
_log = Logger()


def host_certificates(options: Mapping[str, object]) -> tuple[Certificate, ...]:
    """Those that ``[listener.options]`` names, as their files are now.

    :raises BadKey: one can't be read, or is none of a host; it names the file.
    """
    return tuple(_read_certificate(path) for path in _paths(options))


def certified(keys: Sequence[HostKey], options: Mapping[str, object], now: float) -> tuple[HostKey, ...]:
    """The keys, each with the first of its certificates that is good now; clients that don't ask for it see the key.

    A certificate that is no good is not shown, and the log says so once.
    """
    if _OPTION not in options:
        return tuple(keys)
    try:
        found = host_certificates(options)
    except BadKey as problem:
        _say(str(problem))
        return tuple(keys)
    for sentence in certificate_problems(options, keys, now):
        _say(sentence)
    good = [each for each in found if _trouble(each, now) is None]
    own = {each.key.blob: each.blob for each in reversed(good)}
    return tuple(attrs.evolve(key, certificate=own.get(blob_of(key.private))) for key in keys)


def option_problems(options: Mapping[str, object]) -> list[str]:
    """What is wrong with the option as it stands: sentences that begin with the key."""
    if _OPTION not in options:
        return []
    paths = _paths(options)
    if not paths or not all(each.startswith("/") for each in paths):
        return [f"{_OPTION} must be an absolute path, or a list of them"]
    try:
        host_certificates(options)
    except BadKey as problem:
        return [f"{_OPTION} can't be used: {problem}"]
    return []


def certificate_problems(options: Mapping[str, object], keys: Sequence[HostKey], now: float) -> list[str]:
    """Which of the certificates would not be shown, and why: sentences that begin with the key."""
    if option_problems(options):
        return []  # said already
    blobs = {blob_of(key.private) for key in keys}
    found = []
    for path, each in zip(_paths(options), host_certificates(options), strict=True):
        why = _trouble(each, now)
        if each.key.blob not in blobs:
            why = f"is for the key {each.key.fingerprint}, which is none of host_keys"
        if why is not None:
            found.append(f"{_OPTION} names {path}, which {why}")
    return found


def _trouble(certificate: Certificate, now: float) -> str | None:
    if now < certificate.valid_after:
        return "is not valid yet"
    if certificate.valid_before != FOREVER and now >= certificate.valid_before:
        return "has expired"
    return None


def _paths(options: Mapping[str, object]) -> tuple[str, ...]:
    value = options.get(_OPTION, ())
    if isinstance(value, str):
        return (value,)
    texts = isinstance(value, (list, tuple)) and all(isinstance(each, str) for each in value)
    return tuple(map(str, value)) if texts and isinstance(value, (list, tuple)) else ()


def _read_certificate(path: str) -> Certificate:
    try:
        facts = os.stat(path)
        return _kept(path, (facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns))
    except OSError as problem:
        raise BadKey(f"{path} can't be read: {problem.strerror}") from None


@lru_cache(maxsize=64)
def _kept(path: str, stamp: tuple[int, ...]) -> Certificate:
    with open(path, "rb") as stream:
        data = stream.read(CERTIFICATE_BYTES)
    try:
        found = read_certificate(read_public_text(data.decode("utf-8", "replace").strip()))
    except BadKey as problem:
        raise BadKey(f"{path}: {problem}") from None
    if found.type != HOST:
        raise BadKey(f"{path} is no certificate of a host; make one with ssh-keygen -s CA -h")
    return found


@lru_cache(maxsize=64)
def _say(sentence: str) -> None:
    _log.error("a host certificate is not shown: {sentence}", sentence=sentence)


_log = Logger()
