"""The small languages: JSONPath, CEL rules, ages."""

from typing import Any

import pytest
from modelyard.embedded.apiserver.jsonpath import JsonPath
from modelyard.embedded.apiserver.rules import compile_rules
from modelyard.embedded.apiserver.tables import age

DOCUMENT = {
    "spec": {"size": 3, "a.b": "dotted", "list": [1, 2, 3], "none": None},
    "status": {
        "conditions": [
            {"type": "Ready", "status": "True", "n": 1},
            {"type": "Fine", "status": "False", "n": 5},
            {"type": "Bare"},
        ]
    },
}
PATHS = [
    (".spec.size", [3]),
    ("spec.size", [3]),
    ("{.spec.size}", [3]),
    ("$.spec.size", [3]),
    (".spec['a.b']", ["dotted"]),
    (r".spec.a\.b", ["dotted"]),
    (".spec.absent", []),
    (".spec.none", [None]),
    (".spec.list[0]", [1]),
    (".spec.list[-1]", [3]),
    (".spec.list[9]", []),
    (".spec.list[1:]", [2, 3]),
    (".spec.list[:1]", [1]),
    (".spec.list[*]", [1, 2, 3]),
    (".status.conditions[*].type", ["Ready", "Fine", "Bare"]),
    ('.status.conditions[?(@.type=="Ready")].status', ["True"]),
    (".status.conditions[?(@.type != 'Ready')].type", ["Fine", "Bare"]),
    (".status.conditions[?(@.n > 1)].type", ["Fine"]),
    (".status.conditions[?(@.n <= 1.5)].type", ["Ready"]),
    (".status.conditions[?(@.status)].type", ["Ready", "Fine"]),
    (".status.conditions[?(@.type > 1)].type", []),
    ("..type", ["Ready", "Fine", "Bare"]),
    (".spec.list.*", [1, 2, 3]),
]


@pytest.mark.parametrize(("path", "found"), PATHS)
def test_jsonpath_finds(path: str, found: list[Any]) -> None:
    assert JsonPath(path).find(DOCUMENT) == found


@pytest.mark.parametrize("path", [".spec[", ".a[?(]", ".a[?(@.x == y)]", ".a[?(nonsense here)]"])
def test_malformed_jsonpaths_are_refused(path: str) -> None:
    with pytest.raises(ValueError, match="invalid JSONPath"):
        JsonPath(path)


TEXT = {"type": "string"}
NUMBER = {"type": "number"}
WHOLE = {"type": "integer"}
TEXTS = {"type": "array", "items": TEXT}
PAIRS = {
    "type": "array",
    "x-kubernetes-list-type": "map",
    "x-kubernetes-list-map-keys": ["name"],
    "items": {
        "type": "object",
        "properties": {"name": TEXT, "size": WHOLE},
        "x-kubernetes-validations": [{"rule": "self.size >= oldSelf.size", "message": "shrunk"}],
    },
}
HOLDING = [
    ("self.size() == 3", "abc", TEXT),
    ("self.matches('^a.c$')", "abc", TEXT),
    ("self.contains('b') && self.startsWith('a') && self.endsWith('c')", "abc", TEXT),
    ("self in ['abc', 'd']", "abc", TEXT),
    ("self.lowerAscii() == 'abc'", "ABC", TEXT),
    ("self.split('.').size() == 2", "a.b", TEXT),
    ("self.find('[0-9]+') == '12'", "a12", TEXT),
    ("self.findAll('[0-9]') == ['1', '2']", "a12", TEXT),
    ("self.indexOf('b') == 1 && self.substring(1) == 'bc'", "abc", TEXT),
    ("self.replace('a', 'x') == 'xbc' && self.trim() == self", "abc", TEXT),
    ("isURL(self)", "https://example.com/x", TEXT),
    ("!isURL(self)", "plain", TEXT),
    ("isQuantity(self) && quantity(self).isGreaterThan(quantity('1Gi'))", "2Gi", TEXT),
    ("quantity(self).compareTo(quantity('500m')) == 0", "0.5", TEXT),
    ("!isQuantity(self)", "2 Gi", TEXT),
    ("timestamp(self) < timestamp('2030-01-01T00:00:00Z')", "2020-01-01T00:00:00Z", TEXT),
    ("self > duration('59m')", "1h", {**TEXT, "format": "duration"}),
    ("self.getFullYear() == 2020", "2020-01-01T00:00:00Z", {**TEXT, "format": "date-time"}),
    ("self / 2.0 == 0.5", 1, NUMBER),
    ("self / 2 == 1", 3, WHOLE),
    ("self.all(x, x.size() == 1)", ["a", "b"], TEXTS),
    ("self.exists(x, x == 'a') && self.exists_one(x, x == 'b')", ["a", "b"], TEXTS),
    ("self.isSorted() && self.map(x, x + '!').join(',') == 'a!,b!'", ["a", "b"], TEXTS),
    ("self.filter(x, x > 'a').size() == 1 && self.indexOf('b') == 1", ["a", "b"], TEXTS),
    ("math.greatest(self, 2) == 2 && sets.contains([1, 2], [self])", 1, WHOLE),
    ("'a' in self && self.all(k, self[k] > 0)", {"a": 1}, {"type": "object", "additionalProperties": WHOLE}),
    ("has(self.a) && !has(self.b) && self.a == 1", {"a": 1}, {"type": "object", "properties": {"a": WHOLE, "b": WHOLE}}),
    ("self.__namespace__ == 'x' && self.a__dash__b == 1", {"namespace": "x", "a-b": 1}, {"type": "object", "properties": {"namespace": TEXT, "a-b": WHOLE}}),
    ("type(self) == string ? self == '1' : self == 1", "1", {"x-kubernetes-int-or-string": True}),
]  # fmt: skip


def faults(schema: Any, value: Any, old: Any = None) -> list[str]:
    tree = compile_rules(schema)
    assert tree is not None
    return [str(fault) for fault in tree.faults(value, old)]


@pytest.mark.parametrize(("rule", "value", "schema"), HOLDING)
def test_rules_that_hold(rule: str, value: Any, schema: Any) -> None:
    with_rule = {"type": "object", "properties": {"x": {**schema, "x-kubernetes-validations": [{"rule": rule}]}}}  # fmt: skip

    assert faults(with_rule, {"x": value}) == []


def rule(source: str, **more: Any) -> dict[str, Any]:
    return {**WHOLE, "x-kubernetes-validations": [{"rule": source, **more}]}


BROKEN = [
    (rule("self > 5"), 'x: Invalid value: 1: failed rule: self > 5'),
    (rule("self > 5", message="too small"), 'x: Invalid value: 1: too small'),
    (rule("self > 5", messageExpression="'not ' + string(self)"), "x: Invalid value: 1: not 1"),
    (rule("self > 5", message="m", messageExpression="''"), 'x: Invalid value: 1: m'),
    (rule("self > 5", reason="FieldValueForbidden", message="m"), "x: Forbidden: m"),
    (rule("self > 5", fieldPath=".y", message="m"), 'x.y: Invalid value: 1: m'),
    (rule("self.z == 1"), "rule evaluation error"),
    (rule("self / 0 == 1"), "rule evaluation error: division by zero"),
]  # fmt: skip


@pytest.mark.parametrize(("schema", "text"), BROKEN)
def test_broken_rules_say_so(schema: Any, text: str) -> None:
    found = faults({"type": "object", "properties": {"x": schema}}, {"x": 1})

    assert len(found) == 1
    assert text in found[0]


def test_rules_on_change_need_a_before() -> None:
    schema = {"type": "object", "properties": {"x": rule("self >= oldSelf", message="shrunk")}}

    assert faults(schema, {"x": 1}) == []
    assert faults(schema, {"x": 1}, {}) == []
    assert faults(schema, {"x": 1}, {"x": 1}) == []
    assert faults(schema, {"x": 1}, {"x": 2}) == ["x: Invalid value: 1: shrunk"]


def test_optional_before_is_always_given() -> None:
    source = "oldSelf.hasValue() ? self >= oldSelf.value() : self == 0"
    schema = {"type": "object", "properties": {"x": rule(source, optionalOldSelf=True)}}

    assert faults(schema, {"x": 0}) == []
    assert len(faults(schema, {"x": 1})) == 1
    assert faults(schema, {"x": 5}, {"x": 4}) == []
    assert len(faults(schema, {"x": 3}, {"x": 4})) == 1


def test_items_of_map_lists_are_compared_by_key() -> None:
    old = [{"name": "a", "size": 1}, {"name": "b", "size": 5}]
    new = [{"name": "b", "size": 4}, {"name": "c", "size": 0}, {"name": "a", "size": 2}]

    assert faults(PAIRS, new, old) == ["[0]: Invalid value: shrunk"]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("self >", "compilation failed"),
        ("odd(self)", "undeclared reference to odd"),
        ("self.?a.orValue(1) == 1", "compilation failed"),
        ("cel.bind(x, 1, x) == 1", "undeclared reference to bind"),
    ],
)
def test_rules_that_cannot_be_compiled_are_refused(source: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compile_rules(rule(source))


AGES = [
    (0, "0s"), (119, "119s"), (120, "2m"), (185, "3m5s"), (599, "9m59s"), (600, "10m"),
    (10799, "179m"), (10800, "3h"), (11100, "3h5m"), (28800, "8h"), (172799, "47h"),
    (172800, "2d"), (180000, "2d2h"), (691200, "8d"), (63072000, "2y"), (63158400, "2y1d"),
]  # fmt: skip


@pytest.mark.parametrize(("seconds", "text"), AGES)
def test_ages_are_short(seconds: int, text: str) -> None:
    assert age("1970-01-01T00:00:00Z", seconds) == text


def test_an_absent_time_has_no_age() -> None:
    assert age(None, 0) == "<unknown>"
