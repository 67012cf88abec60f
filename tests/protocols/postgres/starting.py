"""A start-up under way, as far as a test needs it."""

from __future__ import annotations

from hoopproxy.protocols.postgres import messages
from hoopproxy.wire.login import Certificate, Challenge

from .stage import Stage, admitted, hello

__all__ = ["CERTIFICATE", "OK", "in_state"]

OK = messages.authentication(0)

CERTIFICATE = Certificate(user="", der=b"der", subject="CN=alice", fingerprint="00")


def in_state(state: str) -> Stage:
    """One that has come so far."""
    stage = Stage(method="password" if state == "password" else "scram")
    stage.tls()
    if state == "certificate":
        stage = Stage()
        stage.tls(shown=CERTIFICATE)
    stage.from_client(hello())
    if state in ("sasl", "asked"):
        (_, login) = stage.from_client(messages.sasl_initial("SCRAM-SHA-256", b"x"))
        if state == "sasl":
            stage.answer(login, Challenge(data=b"x"))
    if state == "upstream":
        return admitted()
    return stage
