"""The command line: `modelyard`, also as `kubectl modelyard`.

`manifests`, `schema`, `references` and `validate` judge a directory; `client` and `apply` bring it
to an API server; `follower` keeps doing so; `plane` starts what runs on this machine; `state`
reads the objects back; one file a command in `commands`.
"""
