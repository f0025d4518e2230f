"""`python -m modelyard_runtimes.batch`: one run, configured by MODELYARD_CONFIG."""

from modelyard.api.runs import BatchConfig

from modelyard_runtimes.batch.run import score
from modelyard_runtimes.entry import run

if __name__ == "__main__":
    run(BatchConfig, score)
