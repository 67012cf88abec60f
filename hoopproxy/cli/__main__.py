"""``python -m hoopproxy.cli``: the same as the ``hoopproxy`` command."""

from hoopproxy.cli import main

main(prog_name="hoopproxy")
