"""Reading SQL text without parsing it: statements and their verbs, names, settings.

``lexer``       PostgreSQL's tokens, skimmed: what is boring never becomes an object
``literals``    what a string constant says
``statements``  the statements of a text and their verbs
``bodies``      the same, for what isn't short and simple
``heads``       what one of those does, by its first words
``verbs``       the words by which statements are known
``deny``        verbs against a role's deny list
``kinds``       what a deny list can name
``names``       names of prepared statements, and what SET does
"""

from hoopproxy.protocols.postgres.sql.deny import denies
from hoopproxy.protocols.postgres.sql.kinds import is_kind
from hoopproxy.protocols.postgres.sql.names import (
    ALL,
    Setting,
    deallocated_name,
    executed_name,
    prepared_name,
    setting,
)
from hoopproxy.protocols.postgres.sql.statements import Statement, statements
from hoopproxy.protocols.postgres.sql.verbs import UNCLASSIFIED

__all__ = [
    "ALL",
    "UNCLASSIFIED",
    "Setting",
    "Statement",
    "deallocated_name",
    "denies",
    "executed_name",
    "is_kind",
    "prepared_name",
    "setting",
    "statements",
]
