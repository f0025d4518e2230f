-- One stage onward; the promote gate still judges it.
local onward = { None = "Staging", Staging = "Production" }
local stage = onward[obj.spec.stage]
if stage == nil then
  error("a model at the stage " .. obj.spec.stage .. " has no next stage", 0)
end
obj.spec.stage = stage
return obj
