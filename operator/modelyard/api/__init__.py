"""The seven kinds and every shape that two parts of Modelyard agree on. Pure data: no I/O here.

`kinds` lists the kinds; `crd` turns them into CustomResourceDefinitions; `runtime` holds what a
runtime is started with; `records` what it leaves behind; `artifacts` where and under which digest.
"""
