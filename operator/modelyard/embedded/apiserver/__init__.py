"""A small Kubernetes API server for one machine and one user, on SQLite.

It speaks the Kubernetes REST API well enough for kubectl, kopf and the official clients: custom
resources are declared to it by applying CustomResourceDefinitions over HTTP, as to any cluster.
It knows no kind of Modelyard's. `process.start` runs it.

From the top: `server` listens; `guard` lets in who may; `routes` reads requests; `writes`,
`deletion`, `lists` and `watches` carry them out, and `collector` what nobody asked for; `admission`
and `ownership` decide what is written; `registry` and `resources` know the kinds; `store` keeps it.
"""
