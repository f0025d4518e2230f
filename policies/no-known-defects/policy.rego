package modelyard.policy.no_known_defects

default allow := false

allow if count(deny) == 0

deny contains reason if {
	some defect in object.get(input, ["modelVersion", "status", "defects"], [])
	reason := sprintf("%s: %s", [defect.name, defect.message])
}

deny contains "there is no evidence that could name a defect; train the model here" if {
	object.get(input, ["modelVersion", "status", "evidenceUri"], "") == ""
}
