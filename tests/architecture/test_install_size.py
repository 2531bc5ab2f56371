"""What `make run` installs stays small enough to try on a laptop: held by the records of what is installed here."""

import re
import tomllib
from collections.abc import Iterable
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]

# Measured: 568 MB on Linux x86-64 with Python 3.11; a tenth is left for newer versions and other platforms. Compiled
# modules, pip itself and the blocks of the disk come on top, some 100 MB: docs/log.md, 2026-11-25.
LIMIT_MB = 625


def default_requirements() -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    return [Requirement(line) for line in project["dependencies"]]


def model_package() -> Distribution:
    pinned = re.search(r"^([\w.-]+)==", (ROOT / "requirements-model.txt").read_text("utf-8"), re.MULTILINE)
    assert pinned is not None
    return distribution(pinned[1])


def closure(requirements: Iterable[Requirement]) -> dict[str, Distribution]:
    """What pip installs for the requirements, by canonical name: their markers read here, extras where asked for."""
    found: dict[str, Distribution] = {}
    waiting = [(requirement, frozenset({""})) for requirement in requirements]
    seen = set()
    while waiting:
        requirement, extras = waiting.pop()
        marker = requirement.marker
        if marker is not None and not any(marker.evaluate({"extra": extra}) for extra in extras):
            continue
        name, wanted = canonicalize_name(requirement.name), frozenset({"", *requirement.extras})
        if (name, wanted) in seen:
            continue
        seen.add((name, wanted))
        found[name] = distribution(name)
        waiting += [(Requirement(line), wanted) for line in found[name].requires or ()]
    return found


def size_mb(package: Distribution) -> float:
    """Without compiled modules: which are there depends on what was started."""
    files = package.files
    assert files, f"{package.name} has no record of its files"
    paths = [Path(str(file.locate())) for file in files if file.suffix != ".pyc"]
    return sum(path.stat().st_size for path in paths if path.is_file()) / 1e6


def test_what_make_run_installs_is_within_its_limit() -> None:
    packages = [*closure(default_requirements()).values(), model_package()]
    sizes = sorted(((size_mb(package), package.name) for package in packages), reverse=True)
    total = sum(size for size, _ in sizes)
    largest = ", ".join(f"{name} {size:.0f}" for size, name in sizes[:8])
    assert total < LIMIT_MB, f"{len(sizes)} packages take {total:.0f} MB; the largest: {largest}"


def test_the_model_and_the_grammars_are_counted_and_torch_is_not() -> None:
    names = closure(default_requirements())
    assert {"onnxruntime", "tree-sitter-python", "numpy", "uvloop", "starlette"} <= set(names)
    assert not {"torch", "transformers", "sentence-transformers", "scipy", "tree-sitter-language-pack"} & set(names)
    assert size_mb(model_package()) > 80
