"""Export: operations of the trail in the words of a SIEM. Pure functions of canonical events, never what is sealed.

``operation``  what is exported as one, and which kinds fold into which
``join``       records become operations, by ``op``
``kinds``      what each kind of event is to a SIEM: one row a kind
``summary``    what every format says of an operation
``ocsf``       OCSF 1.8.0
``facts``      the facts of an operation by name, for the tables of the next three
``ecs``        the Elastic Common Schema
``cef``        ArcSight's Common Event Format
``leef``       QRadar's Log Event Extended Format
``pairs``      facts as ``name=value``, for the last two
``kept``       what stays the same in a session, made once
``line``       JSON on one line, whoever splits it
``bounds``     an operation made to fit a receiver's limit
``formats``    the formats by name, and :func:`render`
``session``    a whole session, for people: see there
"""

from hoopproxy.export.formats import FORMATS, Format, render
from hoopproxy.export.join import BadState, Join
from hoopproxy.export.operation import FOLDED, Operation, alone

__all__ = ["FOLDED", "FORMATS", "BadState", "Format", "Join", "Operation", "alone", "render"]
