"""`python -m modelyard_runtimes.dataset`: one run, configured by MODELYARD_CONFIG."""

from modelyard.api.runs import DatasetConfig

from modelyard_runtimes.dataset.snapshot import make_snapshot
from modelyard_runtimes.entry import run

if __name__ == "__main__":
    run(DatasetConfig, make_snapshot)
