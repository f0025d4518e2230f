"""The train runtime: a snapshot and a TrainConfig become one packed model with its evidence."""
