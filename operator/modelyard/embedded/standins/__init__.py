"""Stand-ins for Argo Workflows, KubeRay and KServe: they run their objects as local processes.

They run what Modelyard's builders emit and refuse anything else by the name of the field. One file
for each kind holds its rules; `processes` is the table of local processes they share.
"""
