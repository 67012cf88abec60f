"""However it is installed, ``twistd hoopproxy`` and ``hoopproxy`` are there: ``.``, ``-e .``, a wheel.

Each in a fresh venv that sees this interpreter's libraries but not its hoopproxy. An editable install hides
``twisted/plugins/`` unless ``package-dir`` is set, which is how this was once lost.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.live

REPOSITORY = Path(__file__).resolve().parents[1]
SECONDS = 300


def _run(*arguments: str | Path, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {
        name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")
    }
    return subprocess.run(
        [str(each) for each in arguments],
        capture_output=True,
        text=True,
        cwd=folder or "/",
        env=environment,
        timeout=SECONDS,
        check=False,
    )


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout, without what builds and editors leave in it."""
    copy = tmp_path_factory.mktemp("source") / "hoopproxy"
    listed = _run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", folder=REPOSITORY)
    if listed.returncode == 0:
        for name in filter(None, listed.stdout.split("\0")):
            if (REPOSITORY / name).is_file():
                (copy / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(REPOSITORY / name, copy / name)
    else:
        leftovers = shutil.ignore_patterns("build", "dist", "*.egg-info", ".*", "__pycache__")
        shutil.copytree(REPOSITORY, copy, ignore=leftovers, ignore_dangling_symlinks=True)
    assert (copy / "pyproject.toml").exists()
    return copy


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from the copy."""
    folder = tmp_path_factory.mktemp("wheel")
    done = _run(sys.executable, "-m", "pip", "wheel", "--no-deps", "-q", "-w", folder, source)
    if done.returncode != 0 and "Could not find a version" in done.stderr:
        pytest.skip(f"missing the build backend: no package index here ({done.stderr.strip()[-200:]})")
    assert done.returncode == 0, done.stderr[-3000:]
    (made,) = folder.glob("*.whl")
    return made


@pytest.fixture
def venv(tmp_path: Path) -> Path:
    """A fresh venv without pip; a ``.pth`` lends it our libraries, behind its own."""
    folder = tmp_path / "venv"
    done = _run(sys.executable, "-m", "venv", "--without-pip", folder)
    assert done.returncode == 0, done.stderr
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "lent.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    return folder


def _install(venv: Path, *what: str | Path) -> None:
    pip = (sys.executable, "-m", "pip", "--python", venv / "bin" / "python", "--disable-pip-version-check")
    done = _run(*pip, "install", "-q", "--no-deps", *what)
    assert done.returncode == 0, done.stderr[-3000:]


def _twistd(venv: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    code = "from twisted.scripts.twistd import run; run()"
    return _run(venv / "bin" / "python", "-W", "error::SyntaxWarning", "-c", code, *arguments, folder=venv)


@pytest.mark.parametrize("way", ["plain", "editable", "wheel"])
def test_every_way_to_install_gives_twistd_hoopproxy(way: str, source: Path, wheel: Path, venv: Path) -> None:
    """A plugin that isn't found makes the product a library that nobody can start."""
    _install(venv, *{"plain": [source], "editable": ["-e", source], "wheel": [wheel]}[way])
    where = _run(venv / "bin" / "python", "-c", "import hoopproxy; print(hoopproxy.__file__)").stdout
    assert str(source if way == "editable" else venv) in where, f"another hoopproxy was imported: {where}"
    help_text = _twistd(venv, "hoopproxy", "--help")
    assert help_text.returncode == 0, help_text.stderr[-2000:]
    assert "--config" in help_text.stdout
    assert "hoopproxy" in _twistd(venv, "--help").stdout
    version = _run(venv / "bin" / "hoopproxy", "--version", folder=venv)
    assert version.returncode == 0, version.stderr[-2000:]
    assert "0." in version.stdout


def test_the_wheel_holds_the_product_and_nothing_else(wheel: Path) -> None:
    """An ``__init__.py`` under ``twisted/`` would hide Twisted itself; tests don't belong to users."""
    names = zipfile.ZipFile(wheel).namelist()
    assert any(name.startswith("twisted/plugins/") and name.endswith(".py") for name in names)
    assert "hoopproxy/py.typed" in names
    assert "hoopproxy/tap.py" in names
    strange = [
        each for each in names if not each.startswith(("hoopproxy/", "twisted/plugins/", "hoopproxy-"))
    ]
    assert strange == []
    assert [each for each in names if each.startswith("twisted/") and each.endswith("__init__.py")] == []
    assert not [each for each in names if each.endswith(("dropin.cache", ".pyc"))]
