"""OCSF's classes that are used: their numbers, and the captions of their activities."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final

import attrs

__all__ = ["CLASSES", "COMMANDS", "Class", "activity_of"]


@attrs.frozen(kw_only=True)
class Class:
    """A class of OCSF 1.8.0. ``host``: its ``actor`` needs the profile of that name."""

    name: str
    uid: int
    caption: str
    category: int
    category_name: str
    activities: Mapping[int, str]
    host: bool = True

    def classification(self, activity: int, name: str = "") -> Mapping[str, Any]:
        """The fields that say what an event is; ``name`` says it in our words where OCSF has none."""
        return _classification(self.name, activity, name)


_APPLICATION: Final = "Application Activity"
_IAM: Final = "Identity & Access Management"

CLASSES: Mapping[str, Class] = MappingProxyType(
    {
        each.name: each
        for each in (
            Class(
                name="datastore_activity",
                uid=6005,
                caption="Datastore Activity",
                category=6,
                category_name=_APPLICATION,
                activities={
                    0: "Unknown",
                    1: "Read",
                    2: "Update",
                    3: "Connect",
                    4: "Query",
                    5: "Write",
                    6: "Create",
                    7: "Delete",
                    99: "Other",
                },
                host=False,
            ),
            Class(
                name="api_activity",
                uid=6003,
                caption="API Activity",
                category=6,
                category_name=_APPLICATION,
                activities={0: "Unknown", 1: "Create", 2: "Read", 3: "Update", 4: "Delete", 99: "Other"},
                host=False,
            ),
            Class(
                name="application_lifecycle",
                uid=6002,
                caption="Application Lifecycle",
                category=6,
                category_name=_APPLICATION,
                activities={
                    0: "Unknown",
                    3: "Start",
                    4: "Stop",
                    6: "Enable",
                    7: "Disable",
                    8: "Update",
                    99: "Other",
                },
            ),
            Class(
                name="application_error",
                uid=6008,
                caption="Application Error",
                category=6,
                category_name=_APPLICATION,
                activities={0: "Unknown", 1: "General Error", 99: "Other"},
            ),
            Class(
                name="authentication",
                uid=3002,
                caption="Authentication",
                category=3,
                category_name=_IAM,
                activities={0: "Unknown", 1: "Logon", 2: "Logoff", 99: "Other"},
            ),
            Class(
                name="authorize_session",
                uid=3003,
                caption="Authorize Session",
                category=3,
                category_name=_IAM,
                activities={0: "Unknown", 1: "Assign Privileges", 2: "Assign Groups", 99: "Other"},
            ),
            Class(
                name="network_activity",
                uid=4001,
                caption="Network Activity",
                category=4,
                category_name="Network Activity",
                activities={
                    0: "Unknown",
                    1: "Open",
                    2: "Close",
                    3: "Reset",
                    4: "Fail",
                    5: "Refuse",
                    6: "Traffic",
                    99: "Other",
                },
            ),
            Class(
                name="ssh_activity",
                uid=4007,
                caption="SSH Activity",
                category=4,
                category_name="Network Activity",
                activities={
                    0: "Unknown",
                    1: "Open",
                    2: "Close",
                    3: "Reset",
                    4: "Fail",
                    5: "Refuse",
                    6: "Traffic",
                    7: "Listen",
                    99: "Other",
                },
            ),
            Class(
                name="process_activity",
                uid=1007,
                caption="Process Activity",
                category=1,
                category_name="System Activity",
                activities={
                    0: "Unknown",
                    1: "Launch",
                    2: "Terminate",
                    3: "Open",
                    4: "Inject",
                    5: "Set User ID",
                    99: "Other",
                },
            ),
            Class(
                name="file_hosting",
                uid=6006,
                caption="File Hosting Activity",
                category=6,
                category_name=_APPLICATION,
                activities={
                    0: "Unknown",
                    1: "Upload",
                    2: "Download",
                    3: "Update",
                    4: "Delete",
                    5: "Rename",
                    14: "Open",
                    99: "Other",
                },
                host=False,
            ),
        )
    }
)
"""By OCSF's own name."""


@lru_cache(maxsize=1024)
def _classification(cls: str, activity: int, name: str) -> Mapping[str, Any]:
    of = CLASSES[cls]
    activity = activity if activity in of.activities else 99
    return {
        "activity_id": activity,
        "activity_name": name or "Other" if activity == 99 else of.activities[activity],
        "category_name": of.category_name,
        "category_uid": of.category,
        "class_name": of.caption,
        "class_uid": of.uid,
        "type_name": f"{of.caption}: {of.activities[activity]}",
        "type_uid": of.uid * 100 + activity,
    }


COMMANDS: Mapping[str, str] = MappingProxyType({"postgres": "datastore_activity", "ssh": "ssh_activity"})
"""The class of a protocol's commands; of one that isn't listed, as a plugin brings it: ``api_activity``."""

_READ, _UPDATE, _QUERY, _WRITE, _CREATE, _DELETE = 1, 2, 4, 5, 6, 7

_BY_WORD: Final = {
    **dict.fromkeys(("DECLARE", "EXPLAIN", "FETCH", "SELECT", "SHOW", "TABLE", "VALUES", "WITH"), _QUERY),
    "COPY TO": _READ,
    **dict.fromkeys(("COPY FROM", "INSERT"), _WRITE),
    **dict.fromkeys(
        ("ALTER", "COMMENT", "GRANT", "IMPORT", "MERGE", "REASSIGN", "REFRESH", "REVOKE", "UPDATE"), _UPDATE
    ),
    "CREATE": _CREATE,
    "SELECT INTO": _CREATE,
    **dict.fromkeys(("DELETE", "DROP", "TRUNCATE"), _DELETE),
}
_WEIGHT: Final = {_READ: 1, _QUERY: 1, 99: 2, _WRITE: 3, _UPDATE: 4, _CREATE: 5, _DELETE: 6}


@lru_cache(maxsize=1024)
def activity_of(verbs: tuple[str, ...]) -> tuple[int, str]:
    """The activity of a datastore that statements of these kinds are: the weightiest; and the kind's name."""
    best, name = 0, ""
    for verb in verbs:
        words = verb.split(" ")
        activity = _BY_WORD.get(" ".join(words[:2])) or _BY_WORD.get(words[0]) or 99
        if verb == "COPY" and len(verbs) > 1:
            continue  # the verb behind it says which way
        if not best or _WEIGHT[activity] > _WEIGHT[best]:
            best, name = activity, verb
    return best, name
