"""Delivery: the trail on its way to those who read all of it. Runs in the reader process, never on the data path.

``consumer``      the contract: who is handed the records of every journal, and how they come
``surroundings``  what whoever is made here may use
``cursors``       how far somebody has read, where a power cut can't take it; ``at_rest`` tells by them alone
``stream``        one journal as it grows, decoded once for all who are near its end; ``lag`` how far behind
``track``         one consumer's way through all journals; ``follower`` keeps them all going
``runner``        one sink: batches, failures, quota; ``selection`` which events, in which form; ``claim`` what is too
                  long; ``gaps`` what it did not get; ``attached`` the plugin's code, held at arm's length
``child``         the life of the process; ``pipe`` what it and the gateway say; ``watchdog`` who blocks it
"""
