"""SFTP version 3 with OpenSSH's extensions: draft-ietf-secsh-filexfer-02 and OpenSSH's PROTOCOL, section 4.

``numbers`` and ``packets`` read; ``stream`` finds packets in pieces; ``words`` puts a request in the trail's words;
``requesting`` and ``replying`` keep what is open and outstanding (``files``, ``digest``); ``watcher`` is the gate.
"""

from hoopproxy.protocols.ssh.sftp.stream import PREFIX, begins
from hoopproxy.protocols.ssh.sftp.watcher import OPTIONS, Sftp

__all__ = ["OPTIONS", "PREFIX", "Sftp", "begins"]
