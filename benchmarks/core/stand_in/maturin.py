"""In place of the build backend of Rust packages, which asks the crates' index before it tells a package's name."""

import re
import shutil
from pathlib import Path


def get_requires_for_build_wheel(config_settings: object = None) -> list[str]:
    """Nothing is built. (PEP 517)"""
    return []


def prepare_metadata_for_build_wheel(metadata_directory: str, config_settings: object = None) -> str:
    """The metadata that the source package carries itself. (PEP 517)"""
    text = Path("PKG-INFO").read_text("utf-8")
    name, version = (re.search(rf"^{field}: (\S+)", text, re.MULTILINE) for field in ("Name", "Version"))
    assert name
    assert version
    folder = f"{name[1].replace('-', '_')}-{version[1]}.dist-info"
    (Path(metadata_directory) / folder).mkdir()
    shutil.copy("PKG-INFO", Path(metadata_directory) / folder / "METADATA")
    return folder
