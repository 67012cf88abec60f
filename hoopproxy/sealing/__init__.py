"""The ledger at work: one more reader of the journal, and those outside whom it asks to sign.

``consumer``  takes the records of every journal and seals them (:mod:`hoopproxy.ledger.sealer`)
``asking``    one HTTP request, bounded
``outside``   witnesses and time stamp authorities: when they are asked, and what comes of it
"""
