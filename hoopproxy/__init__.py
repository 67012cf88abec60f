"""hoopproxy: a gateway with a trustworthy memory.

The map of this package, in reading order:

``interfaces``  every zope Interface; the one file that a plugin author must read
``errors``      one base, few children
``events``      the event vocabulary: what the trail can say
``wire``        pure: codec (bytes -> frames), conversation (frames -> commands), exchange (the gate)
``protocols``   what each protocol means
``identity``    the Portal, the Realm, the credentials checkers
``policy``      roles, rules and verdicts
``journal``     the durable log that everything else reads
``delivery``    the trail on its way to who reads all of it: followed, at each one's pace, with durable cursors
``ledger``      the journal sealed in a Merkle tree: tiles, checkpoints, proofs, the verifier
``sealing``     the ledger at work: a consumer of the journal
``sinks``       one file a sink, and what a sink is handed
``export``      the trail in the words of a SIEM: operations, and mappers of them
``index``       words of the trail and where they are: thrown away and made again at will
``archive``     closed segments and their keys somewhere else: a folder, a bucket; and read from there
``reading``     the trail as a reader sees it: filters, scopes, sessions, recordings
``gateway``     where Twisted lives: listeners, sessions, the relay pair, transport and TLS
``config``      TOML -> frozen values
``secrets``     references to secrets, and where they come from
``discovery``   the plugins that are installed
``inert``       text that can't control a terminal
``cli``         the ``hoopproxy`` command
``tap``         ``twistd hoopproxy``: the composition root of the gateway
``trail``       the composition root of the process that reads
``demo``        the first five minutes: an embedded PostgreSQL and somebody who uses it
``testing``     public help for plugin authors
``plugins``     registrations only
"""

__version__ = "0.1.0"
