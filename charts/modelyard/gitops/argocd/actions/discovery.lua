-- Which actions an object offers follows from the fields that its kind has: the API server fills
-- in their defaults, so a field that is not there is not one of the kind's.
local actions = {}
local spec = obj.spec or {}
local status = obj.status or {}

actions["refresh"] = { iconClass = "fa fa-fw fa-sync" }

if spec.suspend ~= nil then
  actions["suspend"] = { iconClass = "fa fa-fw fa-pause-circle", disabled = spec.suspend }
  actions["resume"] = { iconClass = "fa fa-fw fa-play-circle", disabled = not spec.suspend }
end

if spec.run ~= nil then
  local state = status.run ~= nil and status.run.state or "Waiting"
  local over = state == "Failed" or state == "Succeeded"
  actions["retry"] = { iconClass = "fa fa-fw fa-redo", disabled = not over }
end

if spec.stage ~= nil then
  local onward = spec.stage == "None" or spec.stage == "Staging"
  actions["promote"] = {
    iconClass = "fa fa-fw fa-arrow-up",
    disabled = not onward or status.artifact == nil,
  }
end

if spec.model ~= nil then
  actions["rollback"] = {
    iconClass = "fa fa-fw fa-undo",
    params = { { name = "modelVersion" } },
  }
end

return actions
