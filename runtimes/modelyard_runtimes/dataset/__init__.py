"""The dataset runtime: a source becomes one immutable, validated, fingerprinted snapshot.

The way of the rows, a module a step: `sources` and `archive` find files, `formats` reads each as a
table of texts, `merge` joins them, `types` infers and `convert` applies column types,
`expectations` judges rows, `personal` finds personal data, `protect` applies privacy actions,
`sample` keeps a part, `canonical` orders and fingerprints, `snapshot` writes.
"""
