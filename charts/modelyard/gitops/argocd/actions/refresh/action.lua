-- Wakes the operator for this object. Git does not know the annotation, so nothing is out of sync.
local os = require("os")
if obj.metadata.annotations == nil then
  obj.metadata.annotations = {}
end
obj.metadata.annotations["modelyard.dev/reconcile-at"] = os.date("!%Y-%m-%dT%H:%M:%SZ")
return obj
