"""The monitor runtime: drift of logged requests against the training snapshot."""
