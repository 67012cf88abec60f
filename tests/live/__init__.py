"""Live tests: real servers and unmodified clients, on loopback, started and ended by the tests themselves.

In reading order:

``need``          what a test needs; a visible skip, or a failure under ``CI=true`` for the required set
``processes``     temporary folders, free ports, the plain user, processes that never outlive the run
``certificates``  a throw-away certificate authority
``postgres``      PostgreSQL 15 (Debian) and 18 (npm), with roles, TLS and a JSON log
``gateway``       ``twistd hoopproxy`` as a subprocess, its configuration and its events
``judge``         a counting TCP relay of our own: the judge for byte totals
``oracle``        PostgreSQL's own log against the trail
``clients``       one battery a client; the same transcript direct and through the gateway
``servers``       the fixtures over all of it

``python -m pytest tests/live`` runs all of it; ``-m "live and not soak"`` leaves out the long version.
``HOOPPROXY_TEST_KEEP=1`` keeps the temporary folder (logs, journals) of a run.
"""
