"""Personal data is found in structured columns, and no raw value gets past a privacy action."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]
import pytest
from faker import Faker
from modelyard_runtimes.dataset.personal import find_personal_data, holds_personal_data
from modelyard_runtimes.dataset.recognizers import LONGEST
from modelyard_runtimes.dataset.schema import apply_types
from modelyard_runtimes.entry import RunFailure
from modelyard_runtimes.tables.rows import TEXT

ROWS = 120


def personal_columns(fake: Faker) -> dict[str, tuple[str, Callable[[], Any]]]:
    """Returns entity and generator by column; names of half of them give nothing away."""
    return {
        "col_a": ("EMAIL_ADDRESS", fake.email),
        "contact_email": ("EMAIL_ADDRESS", fake.company_email),
        "phone": ("PHONE_NUMBER", fake.phone_number),
        "mobile": ("PHONE_NUMBER", lambda: fake.numerify("212555####")),
        "col_b": ("PHONE_NUMBER", lambda: fake.numerify("+1-212-55#-####")),
        "col_c": ("CREDIT_CARD", lambda: fake.credit_card_number("visa")),
        "card_number": ("CREDIT_CARD", lambda: fake.credit_card_number("mastercard")),
        "col_d": ("IBAN_CODE", fake.iban),
        "col_e": ("IP_ADDRESS", fake.ipv4),
        "col_f": ("IP_ADDRESS", fake.ipv6),
        "col_g": ("US_SSN", fake.ssn),
        "ssn": ("US_SSN", lambda: fake.ssn().replace("-", "")),
        "col_h": ("URL", fake.url),
        "col_i": ("MAC_ADDRESS", fake.mac_address),
        "dob": ("DATE_OF_BIRTH", lambda: fake.date_of_birth().isoformat()),
        "dateOfBirth": ("DATE_OF_BIRTH", lambda: fake.date_of_birth().strftime("%d/%m/%Y")),
        "name": ("PERSON", fake.name),
        "first_name": ("PERSON", fake.first_name),
        "customerName": ("PERSON", fake.name),
        "surname": ("PERSON", fake.last_name),
        "home_address": ("LOCATION", lambda: fake.address().replace("\n", ", ")),
        "street": ("LOCATION", fake.street_address),
        "passport_no": ("US_PASSPORT", fake.passport_number),
        "account_number": ("US_BANK_NUMBER", lambda: fake.numerify("##########")),
    }


def harmless_columns(fake: Faker) -> dict[str, Callable[[], Any]]:
    return {
        "order_id": lambda: fake.unique.numerify("##########"),
        "amount": lambda: fake.numerify("%##.##"),
        "quantity": lambda: fake.random_int(1, 99),
        "created_at": fake.iso8601,
        "date": fake.date,
        "uuid": fake.uuid4,
        "product_name": lambda: f"{fake.color_name()} {fake.word()}",
        "company_name": fake.company,
        "color": fake.color_name,
        "job": fake.job,
        "country": fake.country,
        "city": fake.city,
        "latitude": lambda: str(fake.latitude()),
        "version": lambda: fake.numerify("#.##.##"),
        "sku": lambda: fake.bothify("??-####"),
        "ean": fake.ean13,
        "isbn": fake.isbn13,
        "hex_color": fake.hex_color,
        "user_agent": fake.user_agent,
        "file_name": fake.file_name,
        "host_name": fake.hostname,
        "review": lambda: fake.sentence(nb_words=12),
        "currency": fake.currency_code,
        "zip": fake.postcode,
        "timestamp": fake.unix_time,
        "score": lambda: fake.random_int(1, 10**9),
        "flag": fake.boolean,
        "mime": fake.mime_type,
        "big_number": lambda: fake.numerify("%###############"),
    }


def detected(columns: dict[str, Callable[[], Any]]) -> dict[str, str]:
    table = pa.table(
        {name: pa.array([str(make()) for _ in range(ROWS)], TEXT) for name, make in columns.items()}
    )
    typed = apply_types(table, {})
    types = {name: inferred.type for name, inferred in typed.types.items()}
    return {found.column: found.entity for found in find_personal_data(typed.table, types, {})}


@pytest.fixture(params=[1, 2, 3])
def fake(request: pytest.FixtureRequest) -> Faker:
    maker = Faker("en_US")
    maker.seed_instance(request.param)
    return maker


def test_recall_and_precision_on_a_labelled_set(fake: Faker) -> None:
    labelled = personal_columns(fake)
    makers = {name: make for name, (_, make) in labelled.items()} | harmless_columns(fake)

    found = detected(makers)

    right = {name for name, entity in found.items() if labelled.get(name, ("",))[0] == entity}
    wrong = {name: entity for name, entity in found.items() if name not in right}
    assert len({entity for entity, _ in labelled.values()}) >= 12
    assert len(right) / len(labelled) >= 0.95, f"missed {set(labelled) - right}"
    assert len(right) / len(found) >= 0.9, f"wrong: {wrong}"


def test_personal_data_within_texts_is_found() -> None:
    assert holds_personal_data("write to jane.doe@example.org, please")
    assert not holds_personal_data("no address in here")


def test_free_texts_with_addresses_are_reported(
    snapshot: Callable[..., Any], csv: Callable[..., Path]
) -> None:
    lines = [f"{n},note number {n} goes to someone{n}@example.org today" for n in range(30)]

    record = snapshot(csv("n,note", *lines)).record

    assert [(found.column, found.entity) for found in record.pii] == [("note", "EMAIL_ADDRESS")]


@pytest.mark.parametrize("others", [299, 301, 650], ids="{} texts before".format)
def test_texts_with_addresses_are_reported_wherever_they_stand_in_order(
    others: int, snapshot: Callable[..., Any], csv: Callable[..., Path]
) -> None:
    lines = [f"{n},call the customer in week {n} of the plan" for n in range(others)]
    lines += [f"{n},wrote to jane.doe{n}@example.com of that" for n in range(299)]

    record = snapshot(csv("n,note", *lines)).record

    assert [(found.column, found.entity) for found in record.pii] == [("note", "EMAIL_ADDRESS")]


def test_detection_can_be_disabled(snapshot: Callable[..., Any], csv: Callable[..., Path]) -> None:
    path = csv("email,n", *(f"a{n}@example.org,{n}" for n in range(9)))

    assert snapshot(path, privacy={"detection": "Disabled"}).record.pii == []
    assert [found.confidence for found in snapshot(path).record.pii] == [1.0]


CANARIES = {
    "email": "canary{n}@example.org",
    "secret_code": "zebra{n}",
    "salary": "9713{n:03d}",
    "born": "19{n:02d}-03-07",
    "card": "nightingale{n} quagga",
}
ACTIONS = {"email": "Hash", "secret_code": "Mask", "salary": "Mask", "born": "Hash", "card": "Drop"}


def canary_lines() -> list[str]:
    rows = [
        ",".join([str(n), *(text.format(n=n + 10) for text in CANARIES.values())])
        for n in range(60)
    ]
    rows.append("60,ragged" + rows[0])
    rows.append(rows[1].replace("971", "x971"))
    return [",".join(["n", *CANARIES]), *rows]


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELYARD_PRIVACY_KEY", "key of a test")


@pytest.mark.usefixtures("key")
def test_no_raw_value_is_in_any_written_byte(
    snapshot: Callable[..., Any], csv: Callable[..., Path]
) -> None:
    privacy = {
        "columns": [{"name": name, "action": action} for name, action in ACTIONS.items()],
        "keyRef": {"name": "s", "key": "k"},
    }
    rules = [
        {"name": "some", "type": "Regex", "column": "email", "pattern": ".*[1-7]@.*",
         "onFail": "Quarantine"},
        {"name": "pay", "type": "Range", "column": "salary", "max": 1, "onFail": "Warn"},
    ]  # fmt: skip
    columns = [{"name": "salary", "type": "Numeric"}]

    outcome = snapshot(
        csv(*canary_lines()), privacy=privacy, expectations=rules, schema={"columns": columns}
    )

    assert outcome.record.quarantine.reasons == {"some": 18, "RaggedRow": 1, "TypeMismatch": 1}
    table = outcome.table
    assert "card" not in table.column_names
    assert set(table.column("secret_code").to_pylist()) == {"***"}
    assert all(len(value) == 16 for value in table.column("email").to_pylist())
    written = json.dumps(table.to_pylist()) + outcome.record.model_dump_json()
    written += "".join(
        path.read_bytes().decode("latin-1") for path in outcome.store.rglob("*") if path.is_file()
    )
    for canary in ("canary", "zebra", "9713", "-03-07", "nightingale", "quagga"):
        assert canary not in written


def test_personal_data_without_an_action_stays_in_the_snapshot_only(
    snapshot: Callable[..., Any], csv: Callable[..., Path]
) -> None:
    lines = [f"canary{n}@example.org,{n % 3}" for n in range(60)]
    rule = {"name": "small", "type": "Range", "column": "n", "max": 1, "onFail": "Quarantine"}

    outcome = snapshot(csv("contact,n", *lines, "canary"), expectations=[rule])

    shown = outcome.record.model_dump_json() + json.dumps([outcome.profile, outcome.quarantined])
    assert "canary" not in shown
    assert all("canary" in row["contact"] for row in outcome.clean)
    assert outcome.record.pii[0].action is None


def test_personal_data_in_a_column_of_another_type_is_masked(
    snapshot: Callable[..., Any], csv: Callable[..., Path]
) -> None:
    columns = [{"name": name, "type": "Numeric"} for name in ("x", "y")]
    path = csv("x,y", "1,2", "odd,3", "canary@example.org,5", "4,canary@example.org", "a,b@x.org")

    outcome = snapshot(path, schema={"columns": columns})

    assert sorted(row["text"] for row in outcome.quarantined) == ["***", "***", "***", "odd"]
    assert "canary" not in json.dumps(outcome.quarantined)


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        pytest.param(LONGEST // 5 - 10, True, id="a text that is searched whole"),
        pytest.param(LONGEST // 5 + 50, False, id="a text that is not searched to its end"),
    ],
)
def test_a_text_that_is_not_searched_to_its_end_is_masked(
    *, words: int, shown: bool, snapshot: Callable[..., Any], csv: Callable[..., Path]
) -> None:
    ragged = "1," + "word " * words + ",last"

    outcome = snapshot(csv("x,y", "1,2", "3,4", ragged))

    (row,) = outcome.quarantined
    assert (row["reason"], row["text"]) == ("RaggedRow", ragged if shown else "***")


@pytest.mark.parametrize(
    ("file", "canary"),
    [
        pytest.param("first_name,date_of_birth", "Jane,1962-03-04", id="columns of their own"),
        pytest.param("Jane,Berlin", "Ann,Paris", id="no header line"),
    ],
)
def test_rows_of_a_file_with_other_columns_are_masked(
    file: str, canary: str, snapshot: Callable[..., Any], csv: Callable[..., Path]
) -> None:
    csv(file, canary, name="other.csv")
    folder = csv("x,y", "1,2", "3,4").parent

    (row,) = snapshot(folder).quarantined

    assert (row["reason"], row["file"], row["text"]) == ("OtherColumns", "other.csv", "***")
    assert not {"Jane", "1962-03-04", "Ann"} & set(json.dumps(row).split('"'))


def test_rows_of_a_file_with_other_columns_are_shown_where_nothing_is_looked_for(
    snapshot: Callable[..., Any], csv: Callable[..., Path]
) -> None:
    csv("color,size", "red,big", name="other.csv")
    folder = csv("x,y", "1,2", "3,4").parent

    (row,) = snapshot(folder, privacy={"detection": "Disabled"}).quarantined

    assert json.loads(row["text"]) == {"color": "red", "size": "big"}


def test_an_allowed_column_is_shown(snapshot: Callable[..., Any], csv: Callable[..., Path]) -> None:
    privacy = {"columns": [{"name": "email", "action": "Allow"}]}

    record = snapshot(csv("email,n", "a@x.org,1", "b@x.org,2"), privacy=privacy).record

    assert "a@x.org" in "".join(record.preview)
    assert (record.pii[0].action, record.privacy) == ("Allow", {"email": "Allow"})


@pytest.mark.usefixtures("key")
def test_hashes_are_stable_and_depend_on_the_key(
    snapshot: Callable[..., Any], csv: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    privacy = {
        "columns": [{"name": "who", "action": "Hash"}], "keyRef": {"name": "s", "key": "k"}
    }  # fmt: skip
    path = csv("who,n", "a,1", "b,2", "a,3")

    first = [row["who"] for row in snapshot(path, privacy=privacy).clean]
    again = [row["who"] for row in snapshot(path, privacy=privacy).clean]
    monkeypatch.setenv("MODELYARD_PRIVACY_KEY", "another")
    other = [row["who"] for row in snapshot(path, privacy=privacy).clean]

    assert first == again
    assert len(set(first)) == 2
    assert set(first).isdisjoint(other)


@pytest.mark.parametrize(
    ("column", "action", "reason"),
    [("nobody", "Mask", "MissingColumn"), ("who", "Hash", "MissingPrivacyKey")],
)
def test_a_privacy_action_that_cannot_be_done_fails(
    column: str,
    action: str,
    reason: str,
    snapshot: Callable[..., Any],
    csv: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("MODELYARD_PRIVACY_KEY", raising=False)
    privacy = {
        "columns": [{"name": column, "action": action}], "keyRef": {"name": "s", "key": "k"}
    }  # fmt: skip

    with pytest.raises(RunFailure, match=r"spec\.privacy\.") as caught:
        snapshot(csv("who,n", "a,1"), privacy=privacy)
    assert caught.value.reason == reason
