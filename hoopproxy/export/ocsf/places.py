"""Where things of ours are in an event of OCSF. A test finds each of them there."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

__all__ = ["PLACES"]

PLACES: Mapping[str, str] = MappingProxyType(
    {
        "`id`": "`metadata.uid`",
        "`kind`": "`metadata.event_code`",
        "`op`": "`metadata.correlation_uid`",
        "`journal`": "`metadata.log_name`",
        "`jseq`": "`metadata.sequence`",
        "`node`": "`metadata.reporter.name`",
        "`time`": "`metadata.original_time`",
        "`target.labels`": "`metadata.labels`",
        "`session`": "`actor.session.uid`",
        "`identity.id`": "`actor.user.name`",
        "`identity.issuer`": "`actor.user.domain`",
        "`identity.groups`": "`actor.user.groups`",
        "`target.account`": "`actor.user.account.name`",
        "`client_parameters.application_name`": "`actor.app_name`",
        "`client.addr`": "`src_endpoint.ip`",
        "`client.port`": "`src_endpoint.port`",
        "`target.name`": "`dst_endpoint.name`",
        "`protocol`": "`dst_endpoint.svc_name`",
        "`database`": "`database.name`",
        "`text`": "`query_info.query_string`",
        "`bytes`": "`query_info.bytes`",
        "`duration`": "`duration`, milliseconds",
        "`decision.rules`": "`authorizations`, the first in `policy.name`",
        "`seq`": "`unmapped.seq`",
        "`verbs`": "`unmapped.verbs`",
        "`parameters`": "`unmapped.parameters`",
        "`rows` and all else of the end": "`unmapped.end`",
        "the fields of each `command.result`": "`unmapped.results`",
        "`client.tls`": "`unmapped.client_tls`",
    }
)
"""For a command, the names of docs/events.md on the left."""
