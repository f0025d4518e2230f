"""Lists of objects: filtered, paged and consistent across pages."""

import base64
import binascii
import json
from dataclasses import dataclass

from modelyard.embedded.apiserver import selectors
from modelyard.embedded.apiserver.errors import ApiError, Object, bad_request, expired
from modelyard.embedded.apiserver.resources import Resource
from modelyard.embedded.apiserver.selectors import Predicate
from modelyard.embedded.apiserver.store import Key, Store


@dataclass(frozen=True)
class ListRequest:
    """Which objects a client wants.

    Attributes:
        namespace: Of this namespace, or None for all.
        selects: Which of them.
        limit: At most this many; 0 for all.
        token: Where the page before ended.
        revision: The resourceVersion that the client knows.
        exact: Whether it wants the state at just that revision.
    """

    namespace: str | None
    selects: Predicate = selectors.everything
    limit: int = 0
    token: str = ""
    revision: int = 0
    exact: bool = False


def list_objects(
    store: Store, resource: Resource, request: ListRequest
) -> tuple[list[Object], Object]:
    """A page of objects.

    Pages that continue a list show the state of its first page, as far as history reaches.

    Returns:
        The objects and the metadata of the list.

    Raises:
        ApiError: 410 if history does not reach back, 504 if the revision is in the future.
    """
    revision, start = store.revision, None
    if request.token:
        revision, start = _read_token(request.token)
    elif request.exact and not request.revision:
        raise bad_request("resourceVersionMatch=Exact needs a resourceVersion")
    elif request.exact:
        revision = request.revision
    elif request.revision > store.revision:
        raise _too_large(request.revision, store.revision)
    selected = [
        (key, served)
        for key, stored in _entries(store, resource, request.namespace, revision)
        if start is None or (key.namespace, key.name) > start
        if request.selects(served := resource.serve(stored))
    ]
    metadata: Object = {"resourceVersion": str(revision)}
    if request.limit and len(selected) > request.limit:
        last = selected[request.limit - 1][0]
        metadata["continue"] = _token(revision, last)
        if request.selects is selectors.everything:
            metadata["remainingItemCount"] = len(selected) - request.limit
        selected = selected[: request.limit]
    return [served for _, served in selected], metadata


def _entries(
    store: Store, resource: Resource, namespace: str | None, revision: int
) -> list[tuple[Key, Object]]:
    if revision > store.revision:
        raise _too_large(revision, store.revision)
    if revision == store.revision:
        return list(store.entries(resource.storage, namespace))
    if revision < store.compacted:
        raise expired(
            "The provided continue parameter is too old to display a consistent list result."
            " You must start a new list without the continue parameter."
        )
    state = dict(store.entries(resource.storage, namespace))
    for key, previous in store.undone(resource.storage, revision).items():
        if previous is None:
            state.pop(key, None)
        elif namespace in (None, key.namespace):
            state[key] = previous
    return sorted(state.items(), key=lambda item: (item[0].namespace, item[0].name))


def _token(revision: int, last: Key) -> str:
    text = json.dumps([revision, last.namespace, last.name])
    return base64.urlsafe_b64encode(text.encode()).decode()


def _read_token(token: str) -> tuple[int, tuple[str, str]]:
    try:
        revision, namespace, name = json.loads(base64.urlsafe_b64decode(token))
        return int(revision), (str(namespace), str(name))
    except (binascii.Error, ValueError, TypeError):
        raise bad_request("continue key is not valid") from None


def _too_large(asked: int, current: int) -> ApiError:
    return ApiError(
        504,
        "Timeout",
        f"Too large resource version: {asked}, current: {current}",
        {"retryAfterSeconds": 1, "causes": [{"reason": "ResourceVersionTooLarge"}]},
    )
