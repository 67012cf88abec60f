"""Writes docs/configuration.md: names, defaults and restarts from the code, meanings from here.

Run it after a change: ``python docs/make_configuration.py``. A test keeps page and code equal.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType
from typing import Any

import attrs

from hoopproxy import config

PAGE = Path(__file__).with_name("configuration.md")

Meaning = tuple[str, str]
"""Unit or kind of value; what it means."""

SECTIONS: tuple[tuple[str, type, str, dict[str, Meaning]], ...] = (
    (
        "[gateway]",
        config.Gateway,
        "The process.",
        {
            "node": ("text", "This gateway's name, in every event. Default: the host's name."),
            "state": (
                "path",
                "State directory: `journals/`, `server-secret`, the control socket. Default `/var/lib/hoopproxy`."
                " Made with mode 0700 if it is missing.",
            ),
            "control": (
                "path",
                "The control socket, relative to `state`. Default `control.sock`. Mode 0660.",
            ),
            "drain_seconds": ("seconds", "After SIGTERM: how long running sessions may go on. 0 to 86,400."),
            "allow_volatile_state": (
                "true, false",
                "Accept a state directory on tmpfs, overlay or a network file system although a target is `strict`.",
            ),
            "reactor": (
                "slim, stock",
                "`slim`: an epoll reactor with less work a turn. `twistd --reactor` wins."
                " No change of the clock moves the timers of any.",
            ),
            "cpu_affinity": (
                "auto, none, or a processor's number",
                "Where the reactor and the journal's writer run. They share the interpreter's lock, and on one"
                " processor its caches too. `auto`: on the last processor that no other gateway of this machine stays"
                " on, if the process was given more than one. Gateways in containers with networks of their own"
                " don't see each other: give each a number, or `none`. Password hashing, the trail and readers run"
                " anywhere.",
            ),
        },
    ),
    (
        "[log]",
        config.Log,
        "The gateway's own log. It is apart from the trail and holds no statement, parameter or row at any level.",
        {
            "format": ("text, json", "Lines for people, or one JSON object a line."),
            "level": ("debug, info, warn, error, critical", "From which level on."),
        },
    ),
    (
        "[journal]",
        config.JournalOptions,
        "How the journal writes. See [journal.md](journal.md).",
        {
            "sync_ms": (
                "milliseconds",
                "`bounded` and `best-effort`: how long a batch collects before it is synced.",
            ),
            "max_lag_ms": ("milliseconds", "Reading pauses when the oldest un-synced record is this old."),
            "max_lag_bytes": ("bytes", "Reading pauses when this much is not synced."),
            "segment_bytes": ("bytes", "Size of one segment file."),
            "reserve_bytes": ("bytes", "Space kept so that the ends of sessions still fit on a full disk."),
            "compression": ("zstd, none", "How blocks are stored; done off the reactor's thread."),
        },
    ),
    (
        "[encryption]",
        config.Encryption,
        "Encryption at rest; needs the extra `encryption`. See [journal.md](journal.md).",
        {
            "recipients": (
                "list of texts",
                "The auditors: public keys of age (`age1...`) or SSH. Naming one turns it on.",
            ),
            "key": (
                "secret",
                "32 bytes, or 64 hexadecimal digits, that open events (not recordings). Absent: `reader-key` in"
                " the state directory.",
            ),
        },
    ),
    (
        "[retention]",
        config.Retention,
        "How long the trail is kept. See [journal.md](journal.md).",
        {
            "events_days": ("days", "Events of every kind stay so long; 0: for ever. Up to 36,500."),
            "payload_days": ("days", "Recorded bytes stay so long; not longer than events."),
            "every_hours": ("hours", "How often it is seen to; 0: only by `hoopproxy journal compact`."),
            "targets": ("tables", "`[retention.targets.NAME]`, see below."),
        },
    ),
    (
        "[retention.targets.NAME]",
        config.RetentionDays,
        "Another time for the records of one target's sessions; what isn't said is as in `[retention]`.",
        {
            "events_days": ("days", "As above."),
            "payload_days": ("days", "As above."),
        },
    ),
    (
        "[ledger]",
        config.LedgerConfig,
        "How the journal is sealed. See [verify.md](verify.md).",
        {
            "enabled": ("true, false", "Seal the journal in a Merkle tree with signed checkpoints."),
            "origin": (
                "text",
                "What the name of each log begins with; the journal's id follows. Absent: `node`.",
            ),
            "epoch_hours": (
                "hours",
                "How long one key signs, before the next one takes over and it is erased.",
            ),
            "witness": ("tables", "See `[[ledger.witness]]`."),
            "witness_seconds": ("seconds", "How often the newest checkpoint goes to the witnesses."),
            "timestamp": ("URL", "A time stamp authority (RFC 3161) to be asked. Absent: off."),
            "timestamp_minutes": ("minutes", "How often, while there is something new."),
        },
    ),
    (
        "[[ledger.witness]]",
        config.Witness,
        "Somebody outside who signs that a tree only grows (`hoopproxy witness`, or another `c2sp.org/tlog-witness`).",
        {
            "url": ("URL", "Its submission prefix; `/add-checkpoint` is added."),
            "key": ("text", "Its public key, one line."),
        },
    ),
    (
        "[index]",
        config.Index,
        "The search index. See [search.md](search.md).",
        {
            "enabled": (
                "true, false",
                "`false`: there is none, and one that was there is removed; searches read the journal. So it is with"
                " `[encryption]`: words in the clear would give away what it seals.",
            ),
        },
    ),
    (
        "[archive]",
        config.ArchiveConfig,
        "Where closed segments are shipped to. See [archive.md](archive.md).",
        {
            "to": (
                "path, s3://",
                "A folder, or `s3://BUCKET/PREFIX` (`pip install 'hoopproxy[s3]'`). Absent: off.",
            ),
            "endpoint": ("URL", "Of an S3-compatible store. Absent: AWS."),
            "region": ("text", "Of the bucket."),
            "access_key": ("secret", "Absent, with `secret_key`: the machine's own role."),
            "secret_key": ("secret", "With `access_key`."),
            "retain_days": ("days", "Object Lock of segments from the day they are put; 0: none."),
            "retain_mode": ("compliance, governance", "Whether somebody may lift the lock before its time."),
        },
    ),
    (
        "[ops]",
        config.Ops,
        "Plain HTTP for probes and metrics. See [operations.md](operations.md).",
        {"listen": ("endpoint", "Twisted server endpoint string. Absent: off. It asks nobody who they are.")},
    ),
    (
        "[limits]",
        config.Limits,
        "Each refusal is said in the protocol's own words (PostgreSQL: 53300). Where 0 is allowed it means: no limit.",
        {
            "pre_login_connections": ("connections", "Not logged in yet, over all listeners."),
            "login_seconds": (
                "seconds",
                "From the connection to the end of the log-in, and for the target's log-in.",
            ),
            "sessions_per_listener": ("sessions", "On one listener, logged in or not."),
            "sessions_per_identity": ("sessions", "Of one identity."),
            "sessions_per_address": ("sessions", "From one address; of IPv6, from one /64."),
            "held_bytes": (
                "bytes",
                "Held in memory by all sessions together, what a target doesn't take included; of one identity half"
                " of it. At least `max_held`.",
            ),
            "max_held": ("bytes", "One message in memory; a longer one is spooled to a file."),
            "spooled_bytes": (
                "bytes",
                "In such files of all sessions together; of one identity half of it. At least `max_statement`.",
            ),
            "max_statement": ("bytes", "One message at all; a longer one is refused (54000)."),
            "idle_seconds": (
                "seconds",
                "Without a byte in either direction, also while a statement runs. Looked at every 5 s.",
            ),
            "session_seconds": ("seconds", "Length of one session. Looked at every 5 s."),
            "failure_delay_ms": ("milliseconds", "Before a failed log-in is answered."),
            "failures_per_minute_address": (
                "failures",
                "Of one address; beyond, everything of it is refused.",
            ),
            "failures_per_minute_user": (
                "failures",
                "Of one user name; beyond, every log-in under it is refused.",
            ),
            "hash_workers": ("threads", "That hash passwords, off the reactor's thread."),
        },
    ),
    (
        "[[listener]]",
        config.Listener,
        "Where clients connect. At least one.",
        {
            "name": ("label", "For events, metrics and the log."),
            "protocol": ("plugin", "`hoopproxy plugins` lists what is installed."),
            "listen": (
                "endpoint",
                "Twisted server endpoint string: `tcp:6432:interface=127.0.0.1`, `tcp6:6432`.",
            ),
            "targets": ("list of targets", "What is reached here. With several, the client names one."),
            "login": (
                "list of scram, password, certificate, publickey, keyboard-interactive",
                "Methods that are accepted, of those that the protocol has. Default: all that can work. Of PostgreSQL,"
                " `password` needs TLS or `insecure_cleartext`, and `certificate` needs `tls.client_ca`.",
            ),
            "insecure_cleartext": ("true, false", "Take a cleartext password outside TLS."),
            "proxy_protocol": (
                "list of networks",
                "Senders that must begin with a PROXY header, version 1 or 2. From anybody else one is refused.",
            ),
            "tls": ("table", "See `[listener.tls]`. Absent: no TLS."),
            "options": ("table", "The protocol's own. See [postgres.md](postgres.md), [ssh.md](ssh.md)."),
            "secrets": (
                "table of secrets",
                "The protocol's own, each a reference or a list of them: `host_keys` of SSH. Read at start and reload.",
            ),
        },
    ),
    (
        "[listener.tls]",
        config.ListenerTLS,
        "TLS towards clients.",
        {
            "certificate": ("path", "PEM, with its chain."),
            "key": ("secret", "PEM, without a passphrase."),
            "client_ca": ("path", "PEM: whose client certificates are believed on this listener."),
            "required": (
                "true, false",
                "Refuse who doesn't ask for TLS (a cancel request is taken without).",
            ),
        },
    ),
    (
        "[[target]]",
        config.Target,
        "What is reached.",
        {
            "name": ("label", "What listeners, roles and clients call it."),
            "protocol": ("plugin", "The same as its listeners'."),
            "connect": (
                "endpoint",
                "Twisted client endpoint string: `tcp:db.example:5432`, `unix:/path`, a plugin's.",
            ),
            "mode": ("strict, bounded, best-effort", "What may be lost. See [journal.md](journal.md)."),
            "record": (
                "full, requests, metadata",
                "`full`: every byte of both directions; `requests`: not what came back; `metadata`: events only,"
                " not even of the log-in. Events hold statements and parameters in each.",
            ),
            "index_rows": (
                "true, false",
                "Whether a search looks into the rows of results, and into what SSH sessions showed, too: then"
                " their words are in the index.",
            ),
            "durable_at": (
                "list of sinks",
                "A `strict` command waits until these have its record, too. They must be `required`, of format"
                " `native`, and of a type that acknowledges records. See [sinks.md](sinks.md).",
            ),
            "labels": ("table of texts", "In every event of its sessions."),
            "tls": (
                "table",
                "See `[target.tls]`. Absent: `verify` with the system's authorities; `off` for a Unix socket.",
            ),
            "accounts": ("tables", "See `[target.accounts.NAME]`."),
            "options": ("table", "The protocol's own. See [postgres.md](postgres.md), [ssh.md](ssh.md)."),
            "secrets": ("table of secrets", "The protocol's own. Read again at each connection."),
        },
    ),
    (
        "[target.tls]",
        config.TargetTLS,
        "TLS towards the target.",
        {
            "mode": ("verify, off", "There is no TLS without verification."),
            "ca": ("path", "PEM: whose certificates are believed. Absent: the system's authorities."),
            "name": ("text", "Whom the target's certificate must be for. Default: the host in `connect`."),
            "certificate": ("path", "The gateway's own certificate for the target. With `key`."),
            "key": ("secret", "Its key."),
        },
    ),
    (
        "[target.accounts.NAME]",
        config.Account,
        "An account that roles can name. Clients never see it. NAME is a label.",
        {
            "user": ("text", "What the target calls it."),
            "password": ("secret", "Read again at each connection."),
            "key": (
                "secret",
                "A private key to log in with, where the protocol has such. Read again likewise.",
            ),
        },
    ),
    (
        "[[sink]]",
        config.Sink,
        "Where the trail goes besides the journal. See [sinks.md](sinks.md). Keys that are not here are the type's.",
        {
            "name": (
                "label",
                "For events, metrics, the cursor's file. Another name is another sink, without a cursor.",
            ),
            "type": ("plugin", "`hoopproxy plugins` lists what is installed; `file` is built in."),
            "format": ("native, ocsf, ecs, cef, leef", "How an event looks there. Absent: the type's own."),
            "required": (
                "true, false",
                "`true`: nothing is ever skipped; past a quota new commands and sessions are refused."
                " `false`: past a quota it is moved on, and an `audit.gap` says past what.",
            ),
            "from_": (
                "oldest, now, number",
                "Where it begins when it has no cursor. A number is a record's in the newest journal.",
            ),
            "quota_bytes": ("bytes", "Of the journal on disk that may wait for it. 0: no limit."),
            "quota_seconds": ("seconds", "That the oldest record may wait for it. 0: no limit."),
            "batch_events": ("events", "Most in one batch."),
            "batch_bytes": ("bytes", "Most in one batch, unless a single event is longer."),
            "batch_seconds": ("seconds", "Until a batch that nobody answered is given up and sent again."),
            "max_event_bytes": (
                "bytes",
                "A longer event goes with its longest values replaced by their length and SHA-256. Absent: 921600; of"
                " `syslog` 1096 less than `max_frame_bytes`, so 7000.",
            ),
            "kinds": ("list of kinds or families", "Only these: `command`, `session.end`. Empty: all."),
            "targets": (
                "list of targets",
                "Only events of these, and those that are of no target. Empty: all.",
            ),
            "options": ("the rest", "What is left of the table is the type's own."),
        },
    ),
    (
        "[[role]]",
        config.Role,
        "Who may do what; without one, nobody may. The first in file order that gives what is asked decides.",
        {
            "name": ("label", "For events and refusals."),
            "groups": (
                "list of texts",
                "Whoever is in one of them has the role; `unix:GROUP` on the control socket.",
            ),
            "identities": ("list of identities", "These have it too; `unix:USER` on the control socket."),
            "targets": ("list of targets", "What it gives."),
            "account": ("account", "As whom. Needed where there are targets."),
            "databases": ("list of texts", "Absent: any. Empty: none."),
            "deny": ("list of kinds", "Statements that are refused. See [postgres.md](postgres.md)."),
            "max_statement": ("bytes", "Refuse longer ones. Absent: the gateway's limit."),
            "read": ("none, own, targets, all", "What of the trail it may read through the control socket."),
            "options": ("tables", "`[role.options.PROTOCOL]`: what else it may do. See [ssh.md](ssh.md)."),
        },
    ),
)

HEAD = """\
# Configuration

<!-- Written by docs/make_configuration.py from hoopproxy/config/model.py. Change it there. -->

One TOML file, `twistd hoopproxy --config FILE`. `hoopproxy check FILE` validates it without starting anything. Every
problem is told at once: file, key, what was found, what would do. A key that is not known is an error.
[examples/gateway.toml](../examples/gateway.toml) has every key.

* **Paths** are relative to the file that names them.
* **Secrets** are references, never values: `env:NAME`, `file:PATH` (an error if everyone can read or write it), or the
  scheme of a plugin. Passwords are read again at each connection to a target, keys at each reload.
* **Labels** have 1 to 63 characters of `A-Z a-z 0-9 _ . -`.
* **Endpoints** are [Twisted endpoint strings](https://docs.twisted.org/en/stable/core/howto/endpoints.html); those of
  plugins work too.
* `include = ["conf.d/*.toml"]` at the top of the main file takes in more files, in the order of their names. Lists
  (`[[listener]]`, `[[target]]`, `[[checker]]`, `[[sink]]`, `[[role]]`) are appended; a section
  may stand in one file only.
* `[config] version = 1` is this format. A newer one is refused.

**Restart.** SIGHUP or `hoopproxy reload` reads the file again, with certificates, keys and users. What changed is for
new sessions; listeners are opened, moved and closed, and their sessions go on. What the last column calls *restart* is
named in the log, in `gateway.config_changed` and by `hoopproxy reload`, and stays as it was. A file with a problem, or
with an address that can't be listened on, changes nothing.
"""

CHECKERS = """\
## `[[checker]]`

Who people are: asked in file order. At least one. `type` names the plugin, the rest of the table is the plugin's.
See [identity.md](identity.md).

| type | key | meaning |
|---|---|---|
| `file` | `path` | the users file; `hoopproxy passwd FILE USER` makes and changes it |
| | `issuer` | what events call the origin of these identities; default `file` |
| `certificate` | `map` | which name of the certificate is the identity: `cn`, `san:email`, `san:dns`, `san:uri` |
| | `groups` | groups of everybody that comes this way |
| | `path` | a users file that the identity must be in, and that adds its groups |
| | `issuer` | default `certificate` |
| `ssh-keys`, `ssh-ca` | see there | SSH's keys and certificates: [ssh-login.md](ssh-login.md) |
| `totp` | `path` | the file of secrets; `hoopproxy totp FILE USER` makes and changes it |
| | `drift` | how many steps of 30 seconds a clock may be wrong, 0 to 4; default 1 |
| | `issuer` | default `totp` |
| `demo` | `users`, `pgpass`, `connect` | for trials: users whose passwords are drawn at the start |
"""


def shown(value: Any) -> str:
    """A default as TOML would say it."""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, int):
        return f"`{value}`"
    if isinstance(value, str):
        return f'`"{value}"`'
    if isinstance(value, tuple):
        return "`[]`" if not value else "all that apply"
    return "absent"


def default_of(section: str, field: Any) -> str:
    """What holds when the key is not there. ``required``: it must be."""
    if section == "[gateway]" and field.default is attrs.NOTHING:
        return "see there"
    if field.default is attrs.NOTHING:
        return "required"
    if isinstance(field.default, (MappingProxyType, config.TargetTLS)):
        return "absent"
    return shown(field.default)


def restart(section: str, key: str) -> str:
    """Whether a change of the key needs a restart. :func:`hoopproxy.config.needs_restart` is the judge."""
    once = section in (
        "[gateway]",
        "[log]",
        "[journal]",
        "[encryption]",
        "[ledger]",
        "[[ledger.witness]]",
        "[archive]",
        "[ops]",
    )
    if section == "[[sink]]" and key == "from_":
        return "first start"
    return "restart" if once or (section == "[limits]" and key == "hash_workers") else "reload"


def rows(section: str, cls: type, meanings: dict[str, Meaning]) -> Iterator[str]:
    """A table row for each key, in the order of the class."""
    yield "| key | value | default | change | meaning |"
    yield "|---|---|---|---|---|"
    for name, field in attrs.fields_dict(cls).items():
        if section == "[target.accounts.NAME]" and name == "name":
            continue
        if name not in meanings:
            continue  # a fact of the reading, not a key
        kind, meaning = meanings[name]
        yield f"| `{name.rstrip('_')}` | {kind} | {default_of(section, field)} | {restart(section, name)} | {meaning} |"


def page() -> str:
    """The whole page."""
    parts = [HEAD]
    for section, cls, about, meanings in SECTIONS:
        if section == "[[role]]":
            parts.append(CHECKERS)
        parts.append(f"## `{section}`\n\n{about}\n\n" + "\n".join(rows(section, cls, meanings)) + "\n")
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
