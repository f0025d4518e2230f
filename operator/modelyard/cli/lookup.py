"""Finds objects by what a person types: KIND/NAME, with all the spellings kubectl takes."""

from __future__ import annotations

import difflib

from modelyard.api.kinds import BY_NAME, KINDS
from modelyard.api.resources import CHILDREN, EVENT, INFERENCE_SERVICE, OURS, Key, Resource
from modelyard.cli.client import Client, Object, Refused
from modelyard.cli.faults import CommandError
from modelyard.cli.state import View


def kind_of(text: str) -> str:
    """Return the kind that a name, plural or short name means.

    Raises:
        CommandError: it means none of the seven.
    """
    word = text.lower().removesuffix(".modelyard.dev")
    for kind in KINDS:
        if word in (kind.kind.lower(), kind.plural, kind.short_name):
            return kind.kind
    close = difflib.get_close_matches(text.capitalize(), BY_NAME, n=1)
    hint = f"did you mean {close[0]}?" if close else f"one of: {', '.join(BY_NAME)}"
    raise CommandError(f"no kind {text!r}; {hint}")


def split(text: str, namespace: str | None) -> tuple[str, str, str | None]:
    """Return kind, name and namespace of a text such as `experiment/churn`.

    KIND/NAMESPACE/NAME, as messages name objects, says the namespace too.

    Raises:
        CommandError: it is not of this form, or there is no such kind.
    """
    kind, slash, name = text.partition("/")
    if not slash or not name:
        raise CommandError(f"{text!r}: write KIND/NAME, for example experiment/churn")
    inside, slash, last = name.partition("/")
    if slash and namespace not in (None, inside):
        raise CommandError(f"{text!r} is in namespace {inside}, and -n says {namespace}")
    return (kind_of(kind), last, inside) if slash else (kind_of(kind), name, namespace)


def find_of_kind(client: Client, kind: str, text: str, namespace: str | None) -> View:
    """Return the object of a known kind that a person named by NAME or by KIND/NAME.

    Raises:
        CommandError: there is none, or the text names another kind.
    """
    if "/" not in text:
        return find(client, kind, text, namespace)
    named, name, namespace = split(text, namespace)
    if named != kind:
        raise CommandError(f"{text!r} is a {named}; name a {kind}")
    return find(client, kind, name, namespace)


def find(client: Client, kind: str, name: str, namespace: str | None) -> View:
    """Return the one object of a kind with a name; the namespace is needed only to tell two apart.

    Raises:
        CommandError: there is none, or one in each of several namespaces.
    """
    everything = client.list(OURS[kind], namespace)
    found = [View(body) for body in everything if body["metadata"]["name"] == name]
    if len(found) == 1:
        return found[0]
    if found:
        places = ", ".join(sorted(view.key.namespace for view in found))
        raise CommandError(f"{kind} {name} is in the namespaces {places}; say which with -n")
    known = sorted({body["metadata"]["name"] for body in everything})
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]}?" if close else f"there are: {', '.join(known) or 'none'}"
    raise CommandError(f"no {kind} {name}{f' in {namespace}' if namespace else ''}; {hint}")


def children(client: Client, view: View) -> list[Object]:
    """Return the objects that the operator made for one of ours, on other people's kinds."""
    key = view.key
    own = f"modelyard.dev/kind={key.kind},modelyard.dev/name={key.name}"
    found = [child for resource in CHILDREN for child in _listed(client, resource, key, own)]
    shared = _listed(client, INFERENCE_SERVICE, key, "modelyard.dev/placement=Shared")
    uid = view.body["metadata"].get("uid")
    return found + [
        child
        for child in shared
        if uid in [owner["uid"] for owner in child["metadata"].get("ownerReferences") or []]
    ]


def _listed(client: Client, resource: Resource, key: Key, selector: str) -> list[Object]:
    """Return the objects that a selector finds; none where the backend is not installed."""
    try:
        return client.list(resource, key.namespace, labelSelector=selector)
    except Refused as refused:
        if refused.code != 404:
            raise
        return []


def events(client: Client, view: View) -> list[Object]:
    """Return the events about an object, oldest first."""
    selector = f"involvedObject.kind={view.key.kind},involvedObject.name={view.key.name}"
    found = client.list(EVENT, view.key.namespace, fieldSelector=selector)
    return sorted(found, key=_event_time)


def _event_time(event: Object) -> str:
    made = event["metadata"].get("creationTimestamp")
    return str(event.get("lastTimestamp") or event.get("eventTime") or made)
