"""Prints the path of `yaml-language-server`, installed once by npm outside of the checkout.

Exits 1, saying why, where Node is not there or the packages cannot be had.
"""

from __future__ import annotations

from pathlib import Path

from node_packages import installed

PACKAGES = Path(__file__).with_name("editor")

if __name__ == "__main__":
    folder = installed("yaml-language-server", PACKAGES)
    print(folder / "node_modules" / "yaml-language-server" / "bin" / "yaml-language-server")
