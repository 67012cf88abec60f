"""What looks like a prompt, and what looks like a command that isn't whole yet."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["continues", "is_continuation", "is_prompt", "prompt_of"]

MAX_PROMPT: Final = 512
"""Cells of a prompt; what is longer is output."""

MAX_JUDGED: Final = 4096
"""Characters of a command that are gone through for what is still open in it; a longer one may well go on."""

_SIGN: Final = "$#%>\u276f\u279c\u00bb\u03bb\u25b6\u203a"
_PROMPT: Final = re.compile(rf"[^\0]*[{_SIGN}] ?\Z")
_STARTS: Final = re.compile(
    rf"(?:\([^()]{{1,60}}\) )?[^\s{_SIGN}]{{0,200}}(?: [^\s{_SIGN}]{{1,200}}){{0,3}} ?[{_SIGN}] "
)
_CONTINUATION: Final = re.compile(r"\s*(?:(?:[a-z]+ )*[a-z]*> ?|\.\.\. ?|[\w.-]*[-'\"`(]> ?|dquote> ?)\Z")
_CONTINUING: Final = re.compile(r"\s*(?:(?:[a-z]+ )*[a-z]*> ?|\.\.\.(?: |\Z)|[\w.-]*[-'\"`(]> ?)")
_BLOCKS: Final = re.compile(r"(?:^|[;&|\n({]|\b(?:do|then|else))\s*(for|while|until|if|case|select)\b")
_ENDS: Final = re.compile(r"\b(done|fi|esac)\b")
_OPEN_END: Final = re.compile(r"(?:\\|\||&&|\{|\(|\[|,|:|\bdo|\bthen|\belse)\s*\Z")


def is_prompt(text: str) -> bool:
    """Whether text before the cursor ends as prompts do."""
    return 0 < len(text) <= MAX_PROMPT and _PROMPT.match(text) is not None


def is_continuation(text: str) -> bool:
    """Whether it is (the beginning of) a prompt for more of the same command."""
    return _CONTINUATION.match(text) is not None


def prompt_of(line: str, continued: bool = False) -> str | None:
    """A line's prompt by its looks alone; ``None`` if it begins with none."""
    found = (_CONTINUING if continued else _STARTS).match(line)
    return found[0] if found is not None and found[0] else None


def continues(text: str) -> bool:
    """Whether a shell (or Python) may well want more of this before it acts."""
    if len(text) > MAX_JUDGED or text.endswith("\\") or _OPEN_END.search(text) is not None or "<<" in text:
        return True
    if len(_BLOCKS.findall(text)) > len(_ENDS.findall(text)):
        return True
    if text.lstrip().startswith(("@", "def ", "class ", "with ", "function ")):
        return True
    return _open_quotes(text)


def _open_quotes(text: str) -> bool:
    quote, depth, skip = "", 0, False
    for character in text:
        if skip:
            skip = False
        elif character == "\\" and quote != "'":
            skip = True
        elif quote:
            quote = "" if character == quote else quote
        elif character in "'\"`":
            quote = character
        elif character in "([{":
            depth += 1
        elif character in ")]}":
            depth -= 1
    return bool(quote) or depth > 0
