-- A new token starts exactly one new run.
local os = require("os")
obj.spec.run.token = "retry-" .. os.date("!%Y%m%dT%H%M%SZ")
if obj.spec.run.cancel ~= nil then
  obj.spec.run.cancel = false
end
return obj
