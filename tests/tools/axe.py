"""Prints the folder where npm installed axe and jsdom, once, outside of the checkout.

`axe/judge.mjs` judges pages with them. Exits 1, saying why, where Node is not there or the packages
cannot be had.
"""

from __future__ import annotations

from pathlib import Path

from node_packages import installed

PACKAGES = Path(__file__).with_name("axe")

if __name__ == "__main__":
    print(installed("axe", PACKAGES))
