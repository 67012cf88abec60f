"""A session told in order, as lines: who came from where, what ran, what went through, what came back, how it ended.

``session``   the story itself: log-in, start, end, and what else happened
``commands``  what was asked for and what came of it
``carried``   what went through: terminals, files, connections
``facts``     what lies around a session: encryption, channels, settings
``lines``     what all of them are made of
"""

from __future__ import annotations

from hoopproxy.cli.audit.story.lines import generic
from hoopproxy.cli.audit.story.session import Story

__all__ = ["Story", "generic"]
