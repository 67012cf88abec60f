"""Statements by their heads, verb by verb.

Where a word can be read in two ways, both are told; where nothing can be told, :data:`UNCLASSIFIED`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from hoopproxy.protocols.postgres.sql import lexer
from hoopproxy.protocols.postgres.sql.lexer import Text, next_word, skimmer, skip
from hoopproxy.protocols.postgres.sql.verbs import (
    CHANGES,
    EXPLAINED,
    MODIFIERS,
    OBJECTS,
    PAIRS,
    PLAIN,
    QUERIES,
    UNCLASSIFIED,
)

__all__ = ["Heads"]


_DML: Final = "select|table|insert|update|delete|merge|into|for|key|then"
_CHANGED_BESIDE: Final = "create|grant|execute|with|update|delete|insert|merge|then|key|for"
_BRACKETS: Final = re.compile(rb"\([\s(]*+")


class Heads:
    """A place in a text, and what the statement there does."""

    def __init__(self, text: Text, backslash: bool) -> None:
        self._text, self._backslash, self._pos = text, backslash, 0
        self._verbs: list[str] = []

    def _classify(self, word: bytes) -> None:
        """Add the verbs of the statement that begins with `word`. Loops where statements wrap others."""
        while True:
            if word in PLAIN:
                self._verbs += PLAIN[word]
            elif word in (b"SELECT", b"TABLE"):
                self._verbs += ["SELECT"] if word == b"SELECT" else ["TABLE", "SELECT"]
                self._inner("into")
            elif word in (b"WITH", b"INSERT", b"MERGE"):
                self._verbs.append(word.decode())
                self._inner(_DML if word == b"WITH" else "update|delete|insert|into|then|key|for")
            elif word in (b"COMMIT", b"ROLLBACK"):
                self._verbs.append(word.decode())
                self._second(b"PREPARED")
            elif word in (b"CREATE", b"ALTER", b"DROP"):
                self._object(word)
            elif word in (b"SET", b"RESET"):
                self._setting(word)
            elif word == b"COPY":
                self._copy()
            elif word in (b"EXPLAIN", b"PREPARE", b"DECLARE"):
                word = self._wrapped(word)
                if word:
                    continue
            else:
                self._verbs.append(UNCLASSIFIED)
            return

    def _next(self) -> tuple[bytes, int]:
        return next_word(self._text, self._pos)

    def _second(self, *words: bytes) -> None:
        """Add ``VERB WORD`` if one of `words` comes next."""
        word, end = self._next()
        if word in words:
            self._verbs.append(f"{self._verbs[-1]} {word.decode()}")
            self._pos = end

    def _inner(self, words: str) -> None:
        """Add what the rest of the statement does besides its first verb: CTEs, MERGE's branches, INTO."""
        for word, before, end in self._among(words, self._verbs[-1].encode()):
            self._verbs += self._effect(word, before, end)

    def _among(self, words: str, last: bytes) -> Iterator[tuple[bytes, bytes, int]]:
        """Each of the `words` in the rest of the statement, which of them stands just before it, and where it ends. The
        place moves on with it; `last` stands just before it now."""
        last_end = self._pos
        for kind, start, end in skimmer(words, backslash=self._backslash).over(self._text, self._pos):
            self._pos = start
            if kind == "punct":
                return
            word = bytes(self._text[start:end]).upper()
            before = last if skip(self._text, last_end) == start else b""
            last, last_end, self._pos = word, end, end
            yield word, before, end
        self._pos = len(self._text)

    def _effect(self, word: bytes, before: bytes, end: int) -> tuple[str, ...]:
        """What an inner `word` does, judged by its neighbours. Doubtful cases count."""
        if word == b"SELECT":
            return ("SELECT",)
        if word == b"TABLE":
            return ("TABLE", "SELECT")
        if word == b"INTO":
            return () if before in (b"INSERT", b"MERGE") else ("SELECT INTO", "CREATE TABLE")
        if word in (b"FOR", b"KEY", b"THEN"):
            return ()
        if before == b"THEN":
            return (word.decode(),)
        after, where = self._peek(end)
        if word == b"UPDATE":
            named = after or self._text[where : where + 1] in (b'"', b"U", b"u")
            return ("UPDATE",) if named and before not in (b"FOR", b"KEY") else ()
        return (word.decode(),) if after == (b"FROM" if word == b"DELETE" else b"INTO") else ()

    def _peek(self, pos: int) -> tuple[bytes, int]:
        return next_word(self._text, pos)

    def _object(self, verb: bytes) -> None:
        """CREATE, ALTER, DROP: the kind of object, and what CREATE SCHEMA and CREATE TABLE AS may hold."""
        self._verbs.append(verb.decode())
        word, self._pos = self._next()
        while verb == b"CREATE" and word in MODIFIERS:
            word, self._pos = self._next()
        if verb == b"CREATE" and word == b"DEFAULT":  # CREATE DEFAULT CONVERSION
            word, self._pos = self._next()
        second, end = self._next()
        if word in PAIRS and second in PAIRS[word].split(b"|"):
            self._verbs.append(f"{verb.decode()} {word.decode()} {second.decode()}")
            self._pos = end
        elif word in OBJECTS:
            self._verbs.append(f"{verb.decode()} {word.decode()}")
        else:
            self._verbs.append(UNCLASSIFIED)
        if word in (b"USER", b"GROUP") and second != b"MAPPING":
            self._verbs.append(f"{verb.decode()} ROLE")
        if verb == b"ALTER" and word == b"DEFAULT":
            self._privileges()
        if verb == b"CREATE" and word in (b"SCHEMA", b"TABLE", b"MATERIALIZED"):
            self._elements()

    def _elements(self) -> None:
        """What CREATE SCHEMA makes and grants, and what the queries of CREATE TABLE AS change."""
        words, last = "create|grant|execute|with", b""
        while True:
            for word, before, end in self._among(words, last):
                if word == b"WITH":
                    if self._names_queries(end):
                        self._verbs.append("WITH")
                        break
                elif word == b"CREATE":
                    self._element()
                elif word in (b"GRANT", b"EXECUTE"):
                    self._verbs.append(word.decode())
                else:
                    self._verbs += self._effect(word, before, end)
            else:
                return
            words, last = _CHANGED_BESIDE, b"WITH"

    def _element(self) -> None:
        thing, end = self._next()
        while thing in MODIFIERS:
            thing, end = self._peek(end)
        self._verbs.append(f"CREATE {thing.decode()}" if thing in OBJECTS else "CREATE")

    def _privileges(self) -> None:
        """ALTER DEFAULT PRIVILEGES: whether it grants or revokes. REVOKE can also be a schema's name, or a role's."""
        found = False
        for kind, start, end in skimmer("grant|revoke", backslash=self._backslash).over(
            self._text, self._pos
        ):
            self._pos = start
            if kind == "punct":
                break
            self._pos = end
            word = bytes(self._text[start:end]).upper().decode()
            if not found or self._peek(end)[0] != b"OPTION":  # GRANT OPTION is what is granted, or revoked
                self._verbs.append(word)
            found = True
            if word == "GRANT":
                break
        if not found:
            self._verbs.append(UNCLASSIFIED)

    def _names_queries(self, pos: int) -> bool:
        """Whether the WITH that ends at `pos` is a query's, not one of storage parameters, time zone or data."""
        name, end = self._peek(pos)
        if not name:
            return self._text[end : end + 1] == b'"'
        after, where = self._peek(end)
        follows = self._text[where : where + 1]
        return name in (b"RECURSIVE", b"U") or after == b"AS" or (not after and follows == b"(")

    def _setting(self, verb: bytes) -> None:
        """SET and RESET: whether it changes who one is."""
        self._verbs.append(verb.decode())
        word, end = self._next()
        while word in (b"SESSION", b"LOCAL"):
            self._pos = end
            if word == b"SESSION" and self._next()[0] == b"AUTHORIZATION":
                word = b"SESSION_AUTHORIZATION"
                break
            word, end = self._next()
        if not word:
            opening = bytes(self._text[end : end + 1])
            if opening != b'"':  # not even a name
                self._verbs.append(UNCLASSIFIED)
                return
            close = lexer.quoted_end(self._text, end)
            word = bytes(self._text[end + 1 : max(end, close - 1)]).upper()
        elif word == b"U" and bytes(self._text[end : end + 2]) == b'&"':
            self._verbs += [f"{verb.decode()} ROLE", f"{verb.decode()} SESSION AUTHORIZATION"]
        names = {b"ROLE": "ROLE", b"SESSION_AUTHORIZATION": "SESSION AUTHORIZATION"}
        if word in names:
            self._verbs.append(f"{verb.decode()} {names[word]}")

    def _copy(self) -> None:
        """COPY: which way, and to whom: the client, a file, or a program."""
        self._verbs.append("COPY")
        opening = skip(self._text, self._pos)
        query = self._text[opening : opening + 1] == b"("
        words = f"to|{_DML}" if query else "from|to"
        for word, before, end in self._among(words, b""):
            if word in (b"TO", b"FROM"):
                self._verbs += self._endpoint(word.decode(), end)
                if not query:
                    break
            else:
                self._verbs += self._effect(word, before, end)
        if not any(verb.startswith("COPY ") for verb in self._verbs):
            self._verbs.append(UNCLASSIFIED)

    def _endpoint(self, way: str, end: int) -> tuple[str, ...]:
        word, _ = self._peek(end)
        if word in (b"STDIN", b"STDOUT"):  # either word is legal in either direction
            return (f"COPY {way} {'STDIN' if way == 'FROM' else 'STDOUT'}",)
        if word == b"PROGRAM":
            return ("COPY PROGRAM", f"COPY {way} PROGRAM")
        if self._literal_at(end):
            return ("COPY FILE", f"COPY {way} FILE")
        return ()

    def _wrapped(self, verb: bytes) -> bytes:
        """EXPLAIN, PREPARE, DECLARE: step to the statement inside. Returns its first word; empty if none."""
        self._verbs.append(verb.decode())
        if verb == b"EXPLAIN":
            return self._explained()
        word, end = self._next()
        if verb + word == b"PREPARETRANSACTION" and self._literal_at(end):
            self._verbs.append("PREPARE TRANSACTION")
            return b""
        wanted = "as" if verb == b"PREPARE" else "for"
        for kind, _, end in skimmer(wanted, backslash=self._backslash).over(self._text, self._pos):
            if kind == "word":
                self._pos = end
                return self._inside(QUERIES | CHANGES if verb == b"PREPARE" else QUERIES)
            break
        self._verbs.append(UNCLASSIFIED)
        return b""

    def _literal_at(self, pos: int) -> bool:
        return lexer.read_literal(self._text, skip(self._text, pos), self._backslash) is not None

    def _explained(self) -> bytes:
        """Step to what an EXPLAIN runs: only with ANALYZE does it run anything."""
        runs = False
        word, end = self._next()
        while word in (b"ANALYZE", b"ANALYSE", b"VERBOSE"):
            runs = runs or word != b"VERBOSE"
            self._pos = end
            word, end = self._next()
        if not word and self._text[end : end + 1] == b"(":
            name, after = self._peek(end + 1)
            if name in QUERIES or self._text[after : after + 1] == b"(":
                return self._inside(EXPLAINED) if runs else b""
            options = skimmer(brackets=")", backslash=self._backslash).over(self._text, end + 1)
            close = next(options, ("", 0, len(self._text)))
            listed = bytes(self._text[end + 1 : close[1]]).lower()
            runs = runs or b"anal" in listed or b'"' in listed  # ANALYZE FALSE is taken for a run
            self._pos = close[2]
        return self._inside(EXPLAINED) if runs else b""

    def _inside(self, allowed: frozenset[bytes]) -> bytes:
        word = self._first()
        return word if word in allowed else b"?"

    def _first(self) -> bytes:
        """The first word of the statement that begins here, brackets around a query left out."""
        while True:
            word, self._pos = self._next()
            brackets = _BRACKETS.match(self._text, self._pos)
            if word or brackets is None:
                return word
            self._pos = brackets.end()
