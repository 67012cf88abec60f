"""Who may do what: roles give targets and accounts, and say which kinds of command they refuse. Pure.

``roles``  the configured roles and the grant that one of them gives
``rules``  the verdict on a command, from a grant
"""
