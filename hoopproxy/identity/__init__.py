"""Who is there: the Portal, the Realm, the credentials checkers.

``portal``  the one Portal over checkers in file order; ``attempt`` one log-in across its rounds
``file``  the checker over a users file; ``users`` its format; ``users_edit`` changing it
``watched``  a file as a value: all of these files are read by it
``certificate``  the checker of client certificates
``public_keys``  what the checkers of ``ssh_keys`` and ``ssh_ca`` share; ``ssh_plugins`` both for the configuration
``codes``  the checker of one-time codes; ``totp`` what they are, and their file
``hashes``  costly work in a bounded pool; ``throttle`` caps, delays and counted failures
``checking``  what a checker may offer besides ``ICredentialsChecker``; ``plugins`` those that come with us
``server_secret``  what makes answers about strangers stable
"""
