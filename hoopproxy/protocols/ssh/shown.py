"""What the trail's reader makes of a recorded session: the hooks of the plugin, not loaded by gateways."""

from __future__ import annotations

from typing import Any

from hoopproxy.errors import HoopproxyError

__all__ = ["Shown"]


class Shown:
    """Mixed into the plugin's object."""

    def replay(self, pieces: Any, *, cell_width: int = 60, channel: str | None = None) -> Any:
        """A session's lines; see :func:`hoopproxy.protocols.ssh.replay.replay`."""
        from hoopproxy.protocols.ssh.replay import replay

        return replay(pieces, cell_width=cell_width, channel=channel)

    def terminal(self, pieces: Any, channel: str | None = None) -> Any:
        """What happened on a terminal, for asciicast; see :func:`hoopproxy.protocols.ssh.replay.terminal`."""
        from hoopproxy.protocols.ssh.replay import terminal

        return terminal(pieces, channel)

    def screen_texts(self, mark: str = "") -> Any:
        """What a search finds in what was shown; see :mod:`hoopproxy.protocols.ssh.screentexts`."""
        from hoopproxy.protocols.ssh.screentexts import ScreenTexts

        return ScreenTexts(mark)

    def wire(self, pieces: Any) -> Any:
        """:raises HoopproxyError: always. What analysers decode of SSH is its packets on the wire, which are
        encrypted; what is recorded is inside of them."""
        raise HoopproxyError(
            "pcapng is not for SSH: analysers know its encrypted packets only; "
            "replay, html, asciicast and jsonl have what was inside"
        )
