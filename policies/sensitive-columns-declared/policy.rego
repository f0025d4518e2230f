package modelyard.policy.sensitive_columns_declared

protected := {
	"age", "disability", "ethnicity", "gender", "maritalstatus", "nationality", "race", "religion", "sex",
	"sexualorientation",
}

default allow := false

allow if {
	input.dataset.status.schema
	count(deny) == 0
}

declared contains column if some column in input.object.spec.fairness.sensitive

deny contains reason if {
	some column in input.dataset.status.schema
	regex.replace(lower(column.name), "[^a-z]", "") in protected
	not column.name in declared
	reason := sprintf("column %s is not declared; add it to spec.fairness.sensitive", [column.name])
}
