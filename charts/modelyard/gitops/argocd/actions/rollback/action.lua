-- Serves exactly one earlier ModelVersion: the one that is named, or the one that served before.
-- The deploy gate still judges it.
local version = actionParams["modelVersion"]
if version == nil or version == "" then
  local history = obj.status ~= nil and obj.status.history or {}
  version = history[2] ~= nil and history[2].modelVersion or nil
end
if version == nil then
  error("none served before; name the ModelVersion to serve in the parameter modelVersion", 0)
end
obj.spec.model = { modelVersion = version }
return obj
