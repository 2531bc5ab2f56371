"""Where a Chromium is: CHROMIUM, on PATH or at the usual places. Run by `python -m`, it installs one where none is."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, expect, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
PLACES = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/usr/lib/chromium/chromium",
    "/snap/bin/chromium",
)

# No network of its own, no sandbox (tests may run as root, in a container), no GPU.
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]

ADVICE = (
    "the page's test needs Chromium or Google Chrome: install one (Debian: `sudo apt-get install chromium`; "
    "Mac: `brew install --cask google-chrome`), or set CHROMIUM to its program"
)


def find_chromium() -> str | None:
    """The path of a Chromium, or None."""
    named = os.environ.get("CHROMIUM")
    if named:
        return named if Path(named).is_file() else None
    on_path = next((found for name in NAMES if (found := shutil.which(name))), None)
    return on_path or next((place for place in PLACES if Path(place).is_file()), None)


@contextmanager
def launched() -> Iterator[Browser]:
    """A running Chromium. Fails with ADVICE where none is."""
    chromium = find_chromium()
    assert chromium is not None, ADVICE
    expect.set_options(timeout=30_000)  # 5 s are too short on a shared machine that stands still
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        yield browser
        browser.close()


def main() -> int:
    """Find one, else install Debian's; 0 where there is one at the end."""
    found = find_chromium()
    if found is None and shutil.which("apt-get"):
        sys.stderr.write("installing Debian's chromium for the page's test (about 100 MB, about a minute)\n")
        root = [] if os.geteuid() == 0 else ["sudo"]
        for command in (["apt-get", "update", "-q"], ["apt-get", "install", "-y", "-q", "chromium"]):
            environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
            if subprocess.run([*root, *command], env=environment, stdout=subprocess.DEVNULL).returncode:
                break
        found = find_chromium()
    sys.stderr.write("" if found else ADVICE + "\n")
    return 0 if found else 1


if __name__ == "__main__":
    sys.exit(main())
