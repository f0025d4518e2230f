package modelyard.policy.sensitive_columns_declared_test

import data.modelyard.policy.sensitive_columns_declared

test_declared_columns_pass if {
	sensitive_columns_declared.allow with input as trained(["Gender", "marital_status"], ["Gender", "marital_status"])
}

test_other_columns_need_no_declaration if {
	sensitive_columns_declared.allow with input as trained(["income", "message", "sextant"], [])
}

test_an_undeclared_column_is_named if {
	reasons := sensitive_columns_declared.deny with input as trained(["Marital Status", "age"], ["age"])
	reasons == {"column Marital Status is not declared; add it to spec.fairness.sensitive"}
}

test_an_unknown_schema_does_not_pass if {
	not sensitive_columns_declared.allow with input as {"object": {"spec": {}}}
}

trained(columns, sensitive) := {
	"object": {"spec": {"fairness": {"sensitive": sensitive}}},
	"dataset": {"status": {"schema": [{"name": column} | some column in columns]}},
}
