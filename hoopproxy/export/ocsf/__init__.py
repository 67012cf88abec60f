"""OCSF 1.8.0: one event an operation, in the class that its kind belongs to. Pure.

``session``   who, from where, where to: rendered once a session
``classes``   the classes that are used, and what each has beside the common fields
``events``    an operation as an event, and its bytes; ``filling`` what only its class says
``usual``     the usual command, fast
"""

from hoopproxy.export.ocsf.events import STATUS, VERSION, turned, write
from hoopproxy.export.ocsf.places import PLACES

__all__ = ["PLACES", "STATUS", "VERSION", "turned", "write"]
