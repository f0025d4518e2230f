package modelyard.policy.no_undeclared_personal_data_test

import data.modelyard.policy.no_undeclared_personal_data

test_declared_columns_pass if {
	no_undeclared_personal_data.allow with input as found([{"column": "a", "entity": "X", "action": "Allow"}])
}

test_a_dataset_without_personal_data_passes if {
	no_undeclared_personal_data.allow with input as found([])
	no_undeclared_personal_data.allow with input as {"object": {"status": {"snapshot": {"rows": 1}}}}
}

test_an_undeclared_column_is_named if {
	reasons := no_undeclared_personal_data.deny with input as found([{"column": "phone", "entity": "PHONE_NUMBER"}])
	some reason in reasons
	startswith(reason, "column phone seems to hold PHONE_NUMBER")
	count(reasons) == 1
}

test_a_dataset_that_was_not_looked_at_does_not_pass if {
	not no_undeclared_personal_data.allow with input as {"object": {}}
}

found(columns) := {"object": {"status": {"pii": columns}}}
