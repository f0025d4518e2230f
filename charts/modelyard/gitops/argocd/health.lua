-- The health of every Modelyard kind, from the conditions that kstatus reads too.
local generation = obj.metadata.generation

local function health(status, message)
  return { status = status, message = message }
end

if obj.metadata.deletionTimestamp ~= nil then
  return health("Progressing", "It is being deleted.")
end

local found = {}
if obj.status ~= nil and obj.status.observedGeneration == generation then
  for _, condition in ipairs(obj.status.conditions or {}) do
    if condition.observedGeneration == generation then
      found[condition.type] = condition
    end
  end
end

local ready = found["Ready"]
if ready == nil then
  return health("Progressing", "The operator has not judged the present spec yet.")
end

local told = ready.reason .. ": " .. ready.message
if found["Stalled"] ~= nil and found["Stalled"].status == "True" then
  return health("Degraded", told)
end
if ready.status == "True" then
  return health("Healthy", told)
end
if ready.reason == "Suspended" then
  return health("Suspended", told)
end
return health("Progressing", told)
