"""The durable log that everything else reads: one folder, one writer, any number of readers.

``format``     the bytes: segment headers, blocks, records; ``commitments`` what binds a ledger to them (contracts)
``chunks``     the body of a chunk record
``chain``      whether each segment continues the bytes that the one before was written as
``keys``       the key file: sessions' salts by key id
``sealing``    encryption at rest: what a body becomes; ``age`` wraps keys, ``datakeys`` keeps them wrapped
``vault``      a writer's keys; ``keyring`` a reader's; ``letter`` a chunk for somebody who opens it elsewhere
``watermark``  up to where a journal is durable, visible to other processes
``files``      what is asked of a file system, so that tests can have a bad one
``folder``     ``<state>/journals/<id>/`` and the writer's lock
``writer``     ``Journal``: append, commit, when_durable; the reactor's side
``batch``      the records of a commit, by columns
``committer``  the writer thread's side: batches, errors, the reserve
``recovery``   what may be done about a journal whose writer is gone
``reader``     records, at rest and live; ``record`` what it gives
``survey``     a journal in figures, and whether all of it is what was written
``upkeep``     the right to change closed segments; ``rewriting`` does it, with stubs
``retention``  what is over its time; ``holds`` what stays all the same; ``whose`` a record is
``erasure``    sessions taken out of a journal
"""
