"""The gateway's "no" in PostgreSQL's words: an SQLSTATE for every reason, and where to ask for more."""

from __future__ import annotations

from hoopproxy.protocols.postgres import messages
from hoopproxy.wire.commands import Refusal

__all__ = ["SQLSTATES", "say"]

SQLSTATES = {
    "login": "28P01",  # invalid_password: for every cause alike
    "authorization": "42501",  # insufficient_privilege, as for a database without CONNECT
    "too_many": "53300",  # too_many_connections
    "deadline": "57014",  # query_canceled, as the server says of authentication_timeout
    "idle": "57P05",  # idle_session_timeout
    "lifetime": "57P01",  # admin_shutdown
    "journal_full": "53100",  # disk_full
    "journal_failed": "58030",  # io_error
    "shutdown": "57P01",
    "killed": "57P01",
    "connect": "08006",  # connection_failure
    "tls": "08006",
    "violation": "08P01",  # protocol_violation
    "policy": "42501",
    "too_large": "54000",  # program_limit_exceeded
    "internal": "XX000",
}
"""``Refusal.code`` to SQLSTATE. Appendix A of PostgreSQL's manual."""


def say(refusal: Refusal, severity: str = "FATAL", sentence: str | None = None) -> bytes:
    """The ErrorResponse for a refusal; its hint names the event that says more.

    :param sentence: said instead of the refusal's own.
    """
    hint = None if refusal.event is None else f"The audit trail says more in event {refusal.event}."
    code = SQLSTATES.get(refusal.code, "XX000")
    return messages.error(severity, code, sentence or refusal.sentence, hint=hint)
