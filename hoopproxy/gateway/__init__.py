"""Where Twisted lives. The map, in the order of a connection's way:

``listener``        who gets in, what comes before the protocol (PROXY header, TLS)
``session``         the whole of a client's connection; ``visit`` its state; ``loggingin``, ``admission`` and ``around``
                    (those inside it) chapters of it; ``upstream`` dialling the target, ``upgrade`` TLS on either leg
``relay``           two connections and the exchange between them
``cancel``          whose key that is, and passing it on
``limits``          how many, how much, how long; ``figures`` what is counted
``shared``          what all sessions share; ``settings`` a configuration, built
``voice``           the gateway's own events; ``clockwatch`` those about clocks
``service``         start, stop; ``journaling`` the journal; ``reload``, ``recovery``, ``state``, ``notify``,
                    ``plugins``, ``logs``, ``faults``
``control``         the control socket; ``asker`` who asks, ``control_line`` its lines, ``reading`` reads of the trail
``ops``             /livez, /readyz, /metrics
``connection``      what a transport gives; ``transport`` the eager one (``sockets``, ``ending``), ``stock`` any other
``tls``             settings and facts; ``tls_stream``, ``secure``, ``certificates``
``slim``            the reactor; ``reactor`` chooses it
"""
