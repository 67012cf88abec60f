"""The tests: a mirror of ``hoopproxy/``, then ``live/`` (real servers) and ``bench/`` (measurements)."""
