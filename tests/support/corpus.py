"""Real code that nobody here wrote: a source package from the package index, pinned and checked by its hash."""

import os
import shutil
from pathlib import Path

from benchmarks.core.packages import Package, pypi, unpacked

_NAME, _VERSION, _ARCHIVE = "flask", "3.1.2", "flask-3.1.2.tar.gz"
FLASK = Package(
    _NAME,
    _VERSION,
    _ARCHIVE,
    "bf656c15c80190ed628ad08cdfd3aaa35beb087855e2f494910aa3774cc4fd87",
    folders=(),
    command=pypi(_NAME, _VERSION, _ARCHIVE),
)


def flask_sources(into: Path) -> Path:
    """The root of Flask's sources, a copy of one's own under `into`. Downloads at most once a machine.

    Fails as benchmarks.core.packages.unpacked does.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "code-assistant-tests"
    (root,) = unpacked([FLASK], cache, print)
    return Path(shutil.copytree(root, into / root.name))
