"""Finding plugins: ours, other people's, and in spite of broken ones."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from hoopproxy.discovery import installed

GOOD = """
from twisted.plugin import IPlugin
from zope.interface import implementer
from hoopproxy.interfaces import ICheckerPlugin

@implementer(IPlugin, ICheckerPlugin)
class Plugin:
    def __init__(self, name):
        self.name = name

third = Plugin("third")
second_file = Plugin("file")
nameless = Plugin(None)
"""


def test_the_built_in_checkers_and_sources_are_found() -> None:
    """A guard: the other tests would pass on an empty list."""
    found = installed()
    assert {"file", "certificate"} <= set(found.checkers)
    assert {"env", "file"} <= set(found.schemes)


def test_other_distributions_add_plugins_and_a_broken_one_stops_nobody(tmp_path: Path) -> None:
    """A plugin's author needs one folder; a bad upgrade of one plugin must not take the log-ins down."""
    folder = tmp_path / "hoopproxy" / "plugins"
    folder.mkdir(parents=True)
    (folder / "good.py").write_text(GOOD)
    (folder / "broken.py").write_text("import no_such_module_anywhere\n")
    program = (
        "import sys; sys.path.insert(1, sys.argv[1]); from hoopproxy.discovery import installed\n"
        "told = []; found = installed(told.append)\n"
        "print(*found.checkers, type(found.checkers['file']).__name__)\n"
        "print(*told, sep='\\n')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == [
        "certificate demo file ssh-ca ssh-keys third totp FileCheckerPlugin",
        "a second plugin called file (hoopproxy.plugins.good) is left out",
        "a plugin of hoopproxy.plugins.good has no name and is left out",
    ]
