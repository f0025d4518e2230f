package modelyard.policy.owner_required

default allow := false

allow if count(owners) > 0

owners contains owner if {
	some owner in input.project.owners
	trim_space(owner) != ""
}

deny contains "the Project has no owner; add one to its spec.owners" if count(owners) == 0
