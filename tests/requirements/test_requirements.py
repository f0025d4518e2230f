"""A plain requirements file becomes a project, and what it leaves open becomes questions."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from modelyard.api.kinds import BY_NAME
from modelyard.cli.requirements import (
    Requirements,
    RequirementsIncomplete,
    Threshold,
    parse,
    project_tree,
)

TELCO = "customerID,gender,tenure,Contract,MonthlyCharges,Churn\n" + "".join(
    f"{n}-A,{'Male' if n % 2 else 'Female'},{n},Monthly,{20.5 + n},{'Yes' if n % 3 else 'No'}\n"
    for n in range(40)
)
HOUSES = "longitude,latitude,total_rooms,median_income,median_house_value\n" + "".join(
    f"{-120 - n / 7},{30 + n / 9},{100 + n},{1 + n / 11},{100000 + 777 * n}\n" for n in range(40)
)
SHIP = "PassengerId,Survived,Pclass,Sex,Age,Fare\n" + "".join(
    f"{n},{n % 2},{1 + n % 3},{'male' if n % 3 else 'female'},{20 + n},{7.25 + n}\n"
    for n in range(40)
)
BIKES = "datetime,season,temp,humidity,casual,registered,count\n" + "".join(
    f"2011-01-01 {n % 24}:00:00,{n % 4},{n / 3},{n},{n},{2 * n},{3 * n}\n" for n in range(40)
)
SMS = "label,message\n" + "".join(
    f"{'spam' if n % 4 == 0 else 'ham'},text {n}\n" for n in range(40)
)
LOANS = "loan_id,income,amount,defaulted,interest_rate\n" + "".join(
    f"L{n},{1000 + n},{500 + n},{'true' if n % 5 == 0 else 'false'},{n / 100}\n" for n in range(40)
)
FLOWERS = "sepal_length,petal_length,species\n" + "".join(
    f"{5 + n / 10},{1 + n / 10},{['setosa', 'virginica', 'versicolor'][n % 3]}\n" for n in range(40)
)
ADULT = "age,education,sex,hours_per_week,income\n" + "".join(
    f"{20 + n},BA,{'M' if n % 2 else 'F'},{30 + n},{'>50K' if n % 4 == 0 else '<=50K'}\n"
    for n in range(40)
)

C, R, ASKED = "Classification", "Regression", None
# What somebody writes, the data, the kind of task and the target; None: it must be asked.
SENTENCES: list[tuple[str, str, str | None, str | None]] = [
    ("Predict which customers will churn.", TELCO, C, "Churn"),
    ("Predict customer churn from contract and charges.", TELCO, C, "Churn"),
    ("We want to know whether a customer is going to churn next.", TELCO, C, "Churn"),
    ("Identify customers who are likely to churn so that we can call them.", TELCO, C, "Churn"),
    ("Estimate the monthly charges of a new customer.", TELCO, R, "MonthlyCharges"),
    ("Estimate the likelihood of churning for each customer.", TELCO, C, "Churn"),
    ("Find the customers who leave.", TELCO, ASKED, ASKED),
    ("Predict the median house value of a district.", HOUSES, R, "median_house_value"),
    ("How much is a house worth, given its location?", HOUSES, R, ASKED),
    ("Estimate median house values using income and rooms.", HOUSES, R, "median_house_value"),
    ("Regression of median_income on the other columns.", HOUSES, R, "median_income"),
    ("Predict `median_house_value`.", HOUSES, R, "median_house_value"),
    ("Predict whether a passenger survived.", SHIP, C, "Survived"),
    ("Which passengers would have survived?", SHIP, C, "Survived"),
    ("Predict survival on the Titanic.", SHIP, C, "Survived"),
    ("Estimate the fare that a passenger paid.", SHIP, R, "Fare"),
    ("The target is Age.", SHIP, R, "Age"),
    ("Predict the count of rented bikes per hour.", BIKES, R, "count"),
    ("How many bikes will be rented?", BIKES, R, ASKED),
    ("Predict the humidity from temperature and season.", BIKES, R, "humidity"),
    ("Classify messages as spam or ham.", SMS, C, "label"),
    ("Is a message spam or ham?", SMS, C, "label"),
    ("Flag loans that will be defaulted.", LOANS, C, "defaulted"),
    ("Predict the interest rate of a loan.", LOANS, R, "interest_rate"),
    ("Predict the probability of default.", LOANS, C, "defaulted"),
    ("What species is a flower?", FLOWERS, C, "species"),
    ("Tell apart setosa, virginica and versicolor flowers.", FLOWERS, C, "species"),
    ("Predict the petal length of a flower.", FLOWERS, R, "petal_length"),
    ("Predict the income class of a person.", ADULT, C, "income"),
    ("Segment our customers into groups.", TELCO, ASKED, ASKED),
    ("Forecast the count for the next 12 months.", BIKES, ASKED, "count"),
    ("Make something useful of this.", ADULT, ASKED, ASKED),
    ("Predict which customers will cancel their contract.", TELCO, C, ASKED),
    ("Filter unwanted messages.", SMS, ASKED, ASKED),
]


def read(directory: Path, data: str = TELCO, **fields: Any) -> Requirements:
    (directory / "data.csv").write_text(data)
    given = {"project_name": "example", "data_source": "data.csv", **fields}
    return parse(given, directory)


def asked(requirements: Requirements) -> set[str]:
    return {question.field for question in requirements.questions}


def test_sentences_are_understood_or_asked_about_and_never_guessed(tmp_path: Path) -> None:
    wrong, right = [], 0
    for sentence, data, task, target in SENTENCES:
        found = read(tmp_path, data, objective=sentence)
        for name, expected, value in [
            ("task", task, found.task_type),
            ("target", target, found.target),
        ]:
            right += value == expected
            open_question = value is None and name in asked(found)
            if value != expected and not open_question:
                wrong.append((sentence, name, value))
            assert (value is None) == (name in asked(found)), (sentence, name)
    assert wrong == [], "guessed wrongly instead of asking"
    assert len(SENTENCES) >= 30
    assert right >= 0.9 * 2 * len(SENTENCES)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("AUC > 0.85", Threshold("roc_auc", "GreaterThan", 0.85)),
        ("ROC-AUC of at least 0.9", Threshold("roc_auc", "GreaterOrEqual", 0.9)),
        ("roc_auc >= .8", Threshold("roc_auc", "GreaterOrEqual", 0.8)),
        ("AUROC above 90%", Threshold("roc_auc", "GreaterThan", 0.9)),
        ("area under the curve ≥ 0.7", Threshold("roc_auc", "GreaterOrEqual", 0.7)),
        ("at least 95 percent accuracy", Threshold("accuracy", "GreaterOrEqual", 0.95)),
        ("balanced accuracy over 0.6", Threshold("balanced_accuracy", "GreaterThan", 0.6)),
        ("F1-score: 0.8", Threshold("f1", "GreaterOrEqual", 0.8)),
        ("PR-AUC > 0.4", Threshold("average_precision", "GreaterThan", 0.4)),
        ("log loss below 0.3", Threshold("log_loss", "LessThan", 0.3)),
        ("RMSE < 50,000", Threshold("rmse", "LessThan", 50000)),
        ("RMSE of 45k or less", Threshold("rmse", "LessOrEqual", 45000)),
        ("mean absolute error at most 2.5", Threshold("mae", "LessOrEqual", 2.5)),
        ("R² >= 0.6", Threshold("r2", "GreaterOrEqual", 0.6)),
        ("MAE 3", Threshold("mae", "LessOrEqual", 3)),
    ],
)
def test_a_target_metric_becomes_a_threshold(
    text: str, expected: Threshold, tmp_path: Path
) -> None:
    found = read(tmp_path, objective="Predict churn.", target_metric=text)
    assert found.threshold == expected
    assert "target_metric" not in asked(found)


@pytest.mark.parametrize(
    ("text", "question"),
    [
        ("recall > 0.9", "'recall' is no metric of Experiments"),
        ("as good as possible", "'as good as possible': of what"),
        ("AUC < 0.85", "asks for a worse model, higher is better for roc_auc"),
        ("RMSE > 3", "asks for a worse model, lower is better for rmse"),
        ("AUC > 85", "roc_auc is at most 1; is it percent"),
        ("RMSE < 5%", "rmse has the target's unit, not %"),
    ],
)
def test_a_target_metric_that_says_too_little_is_asked_about(
    text: str, question: str, tmp_path: Path
) -> None:
    found = read(tmp_path, objective="Predict churn.", target_metric=text)
    assert found.threshold is None
    assert [q for q in found.questions if q.field == "target_metric" and question in q.unknown]


def test_a_metric_that_contradicts_the_data_is_asked_about(tmp_path: Path) -> None:
    found = read(tmp_path, objective="Predict churn.", target_metric="RMSE < 3")
    assert found.task_type is None
    question = next(q for q in found.questions if q.field == "task")
    assert question.unknown == (
        "classification or regression: the metric is rmse (Regression); "
        "column Churn holds few values (Classification)"
    )


@pytest.mark.parametrize(
    ("text", "per_second"),
    [
        ("REST API, 100k requests/day", 100_000 / 86_400),
        ("API serving 100,000 predictions per day", 100_000 / 86_400),
        ("online, 1.5 million calls a month", 1.5e6 / 2_592_000),
        ("50 requests per second", 50),
        ("endpoint with 200 rps", 200),
        ("3600 requests/hour", 1),
        ("REST API", None),
    ],
)
def test_a_rate_of_requests_is_noted_as_a_mean(
    text: str, per_second: float | None, tmp_path: Path
) -> None:
    found = read(tmp_path, objective="Predict churn.", deployment=text)
    assert found.requests_per_second == pytest.approx(per_second)
    assert len(found.unsupported) == (per_second is not None)


@pytest.mark.parametrize(
    ("text", "remedies"),
    [
        ("nightly batch", ["a Deployment of mode Batch"]),
        ("Kafka stream, on kubernetes", ["there is no mode for streams"]),
        ("REST API, latency under 50 ms", ["add spec.constraints.latencyMsP95"]),
        ("canary rollout and 99.9% uptime", ["add spec.canary", "availability cannot"]),
        ("on the moon", ["not understood; declare it by hand"]),
        ("autoscaling; REST; blue/green", ["add spec.replicas", "add spec.canary"]),
    ],
)
def test_what_cannot_be_declared_is_said(text: str, remedies: list[str], tmp_path: Path) -> None:
    found = read(tmp_path, objective="Predict churn.", deployment=text)
    assert len(found.unsupported) == len(remedies)
    for unsupported, remedy in zip(found.unsupported, remedies, strict=True):
        assert unsupported.remedy.startswith(remedy)


EXAMPLE = {
    "project_name": "Customer Churn",
    "data_source": "telco.csv",
    "objective": "Predict which customers will churn",
    "data_description": "One row a customer. Ignore customerID. Sensitive columns: gender, tenure.",
    "target_metric": "AUC > 0.85",
    "deployment": "Real-time REST API in production, 100k requests/day",
}


def test_the_whole_file_becomes_a_project_tree(tmp_path: Path) -> None:
    (tmp_path / "telco.csv").write_text(TELCO)
    into = tmp_path / "customer-churn"
    found = parse(EXAMPLE, tmp_path)
    tree = {path: yaml.safe_load(text) for path, text in project_tree(found, into).items()}
    assert list(tree) == [
        "project.yaml",
        "dataset.yaml",
        "experiment.yaml",
        "deployment.yaml",
        "monitor.yaml",
        "policies/minimum-roc-auc.yaml",
    ]
    for manifest in tree.values():
        BY_NAME[manifest["kind"]].spec.model_validate(manifest["spec"])
        assert manifest["metadata"]["namespace"] == "customer-churn"
    assert tree["dataset.yaml"]["spec"]["source"] == {"path": "../telco.csv"}
    assert tree["experiment.yaml"]["spec"] == {
        "description": "Predict which customers will churn",
        "datasetRef": {"name": "customer-churn"},
        "task": {
            "type": "Classification",
            "target": "Churn",
            "positiveLabel": "Yes",
            "metric": "roc_auc",
        },
        "features": {"exclude": ["customerID"]},
        "fairness": {"sensitive": ["gender", "tenure"]},
    }
    assert tree["project.yaml"]["spec"]["environment"] == "production"
    assert tree["deployment.yaml"]["spec"]["model"] == {
        "experiment": "customer-churn",
        "stage": "Production",
    }
    assert tree["policies/minimum-roc-auc.yaml"]["spec"]["rules"] == [
        {
            "name": "roc-auc",
            "path": "modelVersion.status.metrics.roc_auc",
            "operator": "GreaterThan",
            "value": 0.85,
            "message": "Improve the model, or change the requirement knowingly.",
        }
    ]


def test_assumptions_and_what_is_unsupported_are_told(tmp_path: Path) -> None:
    (tmp_path / "telco.csv").write_text(TELCO)
    found = parse(EXAMPLE, tmp_path)
    assert {(a.field, a.value) for a in found.assumptions} == {
        ("project_name", "customer-churn"),
        ("target", "Churn"),
        ("task", "Classification"),
        ("positive_label", "Yes"),
    }
    assert [u.text for u in found.unsupported] == ["100k requests/day"]
    deployment = project_tree(found, tmp_path)["deployment.yaml"]
    assert deployment.startswith("# Expected: 1.157 requests/s on average.")


def test_the_same_file_gives_the_same_bytes(tmp_path: Path) -> None:
    trees = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "telco.csv").write_text(TELCO)
        trees.append(project_tree(parse(EXAMPLE, tmp_path / name), tmp_path / name / "p"))
    assert trees[0] == trees[1]


@pytest.mark.parametrize(
    ("fields", "field", "unknown"),
    [
        ({"project_name": None}, "project_name", "what is the project called"),
        ({"data_source": ""}, "data_source", "where is the data"),
        ({"data_source": "none.csv"}, "data_source", "there is no none.csv"),
        ({"data_source": "postgres://db/t"}, "data_source", "postgres://db/t cannot be read"),
        ({"target": "Churned"}, "target", "there is no column 'Churned'; which one: customerID,"),
        ({"objective": ""}, "target", "which column is predicted; one of: customerID, gender"),
    ],
)
def test_what_is_missing_is_asked_and_no_tree_is_written(
    fields: dict[str, Any], field: str, unknown: str, tmp_path: Path
) -> None:
    found = read(tmp_path, **{"objective": "Predict churn.", **fields})
    assert [q for q in found.questions if q.field == field and q.unknown.startswith(unknown)]
    with pytest.raises(RequirementsIncomplete, match=field):
        project_tree(found, tmp_path)


def test_answers_close_questions(tmp_path: Path) -> None:
    (tmp_path / "data.parquet").write_bytes(b"PAR1")
    file = {"project_name": "p", "data_source": "data.parquet", "objective": "Predict it."}
    assert asked(parse(file, tmp_path)) == {"target", "task"}
    found = parse({**file, "target": "price", "task": "regression"}, tmp_path)
    assert asked(found) == set()
    experiment = yaml.safe_load(project_tree(found, tmp_path)["experiment.yaml"])
    assert experiment["spec"]["task"] == {"type": "Regression", "target": "price"}


def test_fields_that_are_none_are_told(tmp_path: Path) -> None:
    found = read(tmp_path, objective="Predict churn.", budget="100 EUR")
    assert [(u.field, u.text) for u in found.unsupported] == [("budget", "100 EUR")]


@pytest.mark.parametrize("source", ["breast_cancer", "sklearn breast cancer", "load_breast_cancer"])
def test_bundled_data_sets_are_known_by_name(source: str, tmp_path: Path) -> None:
    file = {"project_name": "p", "data_source": source, "objective": "Detect malignant tumours."}
    found = parse(file, tmp_path)
    dataset = yaml.safe_load(project_tree(found, tmp_path)["dataset.yaml"])
    assert dataset["spec"]["source"] == {"builtin": "breast_cancer"}


def test_a_bucket_gets_a_connection_with_its_secret_by_name(tmp_path: Path) -> None:
    file = {"project_name": "p", "data_source": "s3://lake/x", "target": "y", "task": "regression"}
    found = parse(file, tmp_path)
    tree = project_tree(found, tmp_path)
    assert yaml.safe_load(tree["project.yaml"])["spec"]["connections"] == [
        {"name": "data", "type": "S3", "secretRef": {"name": "data-credentials"}}
    ]
    assert "data_source" in {assumption.field for assumption in found.assumptions}


@pytest.mark.parametrize(
    ("encode", "delimiter"), [("utf-8-sig", ","), ("latin-1", ";"), ("utf-8", "\t")]
)
def test_a_header_is_found_in_any_encoding_and_delimiter(
    encode: str, delimiter: str, tmp_path: Path
) -> None:
    rows = [["größe", "Preis"], *([str(n), str(n * 7)] for n in range(40))]
    text = "\n".join(delimiter.join(row) for row in rows)
    (tmp_path / "data.csv").write_bytes(text.encode(encode))
    file = {"project_name": "p", "data_source": "data.csv", "objective": "Predict the Preis."}
    assert parse(file, tmp_path).target == "Preis"


def test_a_directory_of_files_is_looked_into(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "b.csv").write_text(TELCO)
    shutil.copy(tmp_path / "parts" / "b.csv", tmp_path / "parts" / "a.csv")
    file = {"project_name": "p", "data_source": "parts", "objective": "Predict churn."}
    found = parse(file, tmp_path)
    assert found.target == "Churn"
    assert "path: parts" in project_tree(found, tmp_path)["dataset.yaml"]
