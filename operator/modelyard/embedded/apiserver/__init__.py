"""A small Kubernetes API server for one machine and one user, on SQLite.

It speaks the Kubernetes REST API well enough for kubectl, kopf and the official clients: custom
resources are declared to it by applying CustomResourceDefinitions over HTTP, as to any cluster.
It knows no kind of Modelyard's.

Layers, top imports down only: `__main__` > `server` > `routes` > `writes`, `watches`, `views` >
`admission`, `ownership` > `registry`, `store` > `resources`, `schema*`, `errors`.
"""
