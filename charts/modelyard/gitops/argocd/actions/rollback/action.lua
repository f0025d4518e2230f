-- Serves exactly one earlier ModelVersion; the deploy gate still judges it.
local version = actionParams["modelVersion"]
if version == nil or version == "" then
  error("name the ModelVersion to serve in the parameter modelVersion", 0)
end
obj.spec.model = { modelVersion = version }
return obj
