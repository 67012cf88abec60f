"""The search index: one more reader of the trail, which can be thrown away and made again at any time.

``words``     how texts become words, and what somebody looks for
``saying``    which texts of an event count
``documents`` what it is made of
``gathering`` records, gathered into documents: words of events of one session, kind and outcome
``rows``      bytes of results, until an event says which they are
``screens``   what was shown on terminals and by programs
``part``      a stretch of one journal's index, an SQLite file, and its writer; ``looking`` reads it
``shelf``     the parts of every journal, below ``<state>/trail/index``
``consumer``  keeps the parts up to date as records come

An index never answers by itself: it says where in the journal to look, and what is read there decides. So a
wrong index can leave something out, but never invent it.
"""
