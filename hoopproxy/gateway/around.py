"""A session with others inside of it: what is at an address that its client wants to reach, and a session for that."""

from __future__ import annotations

import attrs

from hoopproxy.gateway.inside import entrance_inside
from hoopproxy.gateway.visit import Visit
from hoopproxy.policy.roles import held_roles
from hoopproxy.wire.commands import Inside, Opened, Refusal
from hoopproxy.wire.inside import DEPTH_MAX, Outer

__all__ = ["Around"]


class Around(Visit):
    """Answers :class:`~hoopproxy.wire.commands.Inside`."""

    __slots__ = ()

    def target_at(self, host: str, port: int) -> tuple[str, str] | None:
        """What is configured at an address: of several, the first that a role gives."""
        found = self._settings.places.get((host.rstrip(".").lower(), port), ())
        if not found:
            return None
        name = next((each for each in found if self._may_reach(each)), found[0])
        return name, self._settings.upstreams[name].plugin.name

    def _may_reach(self, target: str) -> bool:
        who = self.identity
        return who is not None and any(
            target in role.targets for role in held_roles(self._settings.roles, who.id, who.groups)
        )

    def _open_inside(self, asked: Inside) -> Opened | Refusal:
        shared, relay, who = self._shared, self._relay, self.identity
        upstream = self._settings.upstreams.get(asked.target)
        if shared.draining:
            return Refusal("shutdown", "the gateway is shutting down")
        if relay is None or who is None or upstream is None or not self._may_reach(asked.target):
            return Refusal(
                "authorization", f"no role gives {'this log-in' if who is None else who.id} what is there"
            )
        depth = 1 if self.outer is None else self.outer.depth + 1
        if depth > DEPTH_MAX:
            return Refusal(
                "too_many",
                f"a session inside {DEPTH_MAX} others is the last; connect to {asked.host} directly",
            )
        refusal = shared.crowd.knock()
        if refusal is not None:
            return refusal
        refusal = shared.crowd.enter(self.listener, self.facts.addr)
        if refusal is not None:
            shared.crowd.pre_login.leave()
            return refusal
        session = type(self)(
            shared,
            self._settings,
            entrance_inside(self._entrance, upstream.plugin, asked.target),
            attrs.evolve(self.facts, tls=None, via_session=self.id),
            Outer(
                session=self.id,
                identity=who,
                host=asked.host,
                port=asked.port,
                carries=asked.carries,
                depth=depth,
            ),
        )
        try:
            pair = upstream.plugin.build_pair(session)
        except Exception:
            session.gone()
            raise
        relay.inside(asked.number, pair[0])
        self._settled = True
        shared.deadlines.end(self)  # it may have no target of its own
        return Opened(session.id)
