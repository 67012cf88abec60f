"""One session, exported for somebody without hoopproxy. Pure: what was recorded in, bytes out, piece by piece.

``material``   what an exporter is handed: events, chunks, and what covers them
``lines``      JSON Lines; ``table`` CSV; ``page`` HTML
``packets``    pcapng: the session as packets that a protocol analyser decodes
``bundle``     everything in one folder, and ``check_bundle``, which goes with it
``asciicast``  a terminal's output, for asciinema; ``har`` requests and answers, for browsers' tools
"""

from hoopproxy.export.session.material import About, Cover, Told

__all__ = ["About", "Cover", "Told"]
