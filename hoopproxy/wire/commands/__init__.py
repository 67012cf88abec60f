"""What a conversation wants done, and the answers it gets. All values; nothing here does anything.

A conversation returns commands for each frame. Without one, a frame of the client is **kept** (read by the
gateway, not sent on) and a frame of the target is **kept** until :class:`Relaying` says that the stream is
being relayed; from then on frames of the target go on unless :class:`Withhold` says otherwise, and frames
of the client still go on only by :class:`Forward` or an allowed :class:`Decide`.

The *questions* (:class:`Login`, :class:`Admit`, :class:`Connect`, :class:`StartTLS`, :class:`Decide`,
:class:`Cancel`, :class:`Compute`) are answered through ``Conversation.answered``; until then no further frame
of that peer is looked at. A question is the last command of what a conversation returns.
"""

from __future__ import annotations

from hoopproxy.wire.commands.acts import (
    FORWARD,
    HOLD,
    OPAQUE_REASON,
    PAUSE,
    RELAYING,
    RELEASE,
    RESUME,
    WITHHOLD,
    Close,
    Forward,
    Hold,
    Note,
    Opaque,
    Pause,
    Redact,
    RegisterCancel,
    Relaying,
    Release,
    Resume,
    Started,
    ToClient,
    ToServer,
    Withhold,
)
from hoopproxy.wire.commands.answers import (
    Connected,
    FromInside,
    Granted,
    LoggedIn,
    Offered,
    Opened,
    Proven,
    Refusal,
    TLSStarted,
    Verdict,
)
from hoopproxy.wire.commands.questions import (
    Admit,
    Cancel,
    Compute,
    Connect,
    Decide,
    Inside,
    Login,
    StartTLS,
    ToInside,
)
from hoopproxy.wire.commands.results import Completed, Result, Told

__all__ = [
    "FORWARD",
    "HOLD",
    "OPAQUE_REASON",
    "PAUSE",
    "RELAYING",
    "RELEASE",
    "RESUME",
    "WITHHOLD",
    "Admit",
    "Cancel",
    "Close",
    "Command",
    "Completed",
    "Compute",
    "Connect",
    "Connected",
    "Decide",
    "Forward",
    "FromInside",
    "Granted",
    "Hold",
    "Inside",
    "LoggedIn",
    "Login",
    "Note",
    "Offered",
    "Opaque",
    "Opened",
    "Pause",
    "Proven",
    "Redact",
    "Refusal",
    "RegisterCancel",
    "Relaying",
    "Release",
    "Result",
    "Resume",
    "StartTLS",
    "Started",
    "TLSStarted",
    "ToClient",
    "ToInside",
    "ToServer",
    "Told",
    "Verdict",
    "Withhold",
]

Command = (
    ToClient
    | ToServer
    | Forward
    | Withhold
    | Relaying
    | Pause
    | Resume
    | Hold
    | Release
    | Redact
    | Opaque
    | Note
    | Close
    | Started
    | RegisterCancel
    | Login
    | Admit
    | Connect
    | StartTLS
    | Cancel
    | Compute
    | Inside
    | ToInside
    | Decide
    | Result
    | Completed
)
