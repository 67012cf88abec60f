"""The modules of the examples, without installing them."""

from __future__ import annotations

import base64
import importlib.util
from pathlib import Path
from typing import Any

__all__ = ["EXAMPLES", "KEY", "REPOSITORY", "SECRET", "SOURCES", "lines", "loaded", "webhook"]

REPOSITORY = Path(__file__).resolve().parents[1]

EXAMPLES = REPOSITORY / "examples"

SOURCES = ("line_protocol/hoopproxy_lines.py", "sink_plugin/hoopproxy_webhook.py")


def loaded(path: str) -> Any:
    """An example's module, without installing it."""
    spec = importlib.util.spec_from_file_location(Path(path).stem, EXAMPLES / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


lines = loaded(SOURCES[0])

webhook = loaded(SOURCES[1])

KEY = b"0123456789abcdef0123456789abcdef"

SECRET = b"whsec_" + base64.b64encode(KEY)
