"""The ledger: the journal sealed in a Merkle tree that an outsider can verify. No reactor in here.

``merkle``      the tree of RFC 6962: hashes and proofs; ``tiles`` its layout (c2sp.org/tlog-tiles), read
``tree``        a tree that grows, and the tiles that it fills
``leaf``        what the tree says of a record; ``salts`` what goes into it
``note``        signed notes and cosignatures; ``checkpoint`` a tree's head; ``proof`` one leaf, in one file
``epoch``       which key signs from when on, and who vouches for it
``folder``      the files; ``sealer`` one journal's tree, sealed as it grows
``verify``      journal against tree against checkpoints; ``comparison`` the first two, ``report`` what was found
``evidence``    one event, proven
``witness``     who signs that a tree only grows; ``timestamp`` RFC 3161
"""
