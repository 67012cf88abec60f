"""Delivery: the trail on its way to those who read all of it. Runs in the reader process, never on the data path.

``consumer``    the contract: who is handed the records of every journal, and how they come
``indexing``    the search index, kept by the process that reads
"""
