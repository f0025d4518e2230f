package modelyard.policy.minimum_metric_test

import data.modelyard.policy.minimum_metric

test_the_threshold_itself_is_enough if {
	minimum_metric.allow with input as metrics({"roc_auc": 0.85})
}

test_less_is_not_enough if {
	not minimum_metric.allow with input as metrics({"roc_auc": 0.8499999})
}

test_another_metric_does_not_count if {
	not minimum_metric.allow with input as metrics({"accuracy": 0.99})
}

test_text_is_no_number if {
	not minimum_metric.allow with input as metrics({"roc_auc": "0.99"})
}

metrics(values) := {"modelVersion": {"status": {"metrics": values}}}
