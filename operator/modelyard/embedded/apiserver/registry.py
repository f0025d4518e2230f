"""Which resources the server serves at the moment."""

from collections.abc import Iterator

from modelyard.embedded.apiserver import crd_schema, reviews
from modelyard.embedded.apiserver.core import BUILTIN
from modelyard.embedded.apiserver.errors import Object, no_such_path
from modelyard.embedded.apiserver.resources import Resource
from modelyard.embedded.apiserver.store import Change, Store


class Registry:
    """The built-in resources and those of the CustomResourceDefinitions in the store."""

    def __init__(self, store: Store) -> None:
        """Read the definitions, and follow their changes from now on."""
        self._declared: dict[str, list[Resource]] = {}
        for _, crd in store.entries(crd_schema.STORAGE):
            self._declare(crd)
        store.listen(self._follow)

    def __iter__(self) -> Iterator[Resource]:
        yield from BUILTIN
        yield from reviews.RESOURCES
        for declared in self._declared.values():
            yield from declared

    def find(self, group: str, version: str, plural: str) -> Resource | None:
        """The resource at a path, or None."""
        wanted = (group, version, plural)
        matches = (r for r in self if (r.group, r.version, r.plural) == wanted)
        return next(matches, None)

    def get(self, group: str, version: str, plural: str) -> Resource:
        """The resource at a path.

        Raises:
            ApiError: 404 if there is none.
        """
        resource = self.find(group, version, plural)
        if resource is None:
            raise no_such_path()
        return resource

    def stored_as(self, storage: str) -> Resource | None:
        """The first version of the resource that is stored under a name."""
        return next((resource for resource in self if resource.storage == storage), None)

    def groups(self) -> dict[str, list[str]]:
        """The versions of each group, in order of preference; the core group is ``""``."""
        groups: dict[str, list[str]] = {}
        for resource in self:
            versions = groups.setdefault(resource.group, [])
            if resource.version not in versions:
                versions.append(resource.version)
        return groups

    def in_version(self, group: str, version: str) -> list[Resource]:
        """The resources of a group's version."""
        return [r for r in self if (r.group, r.version) == (group, version)]

    def _follow(self, change: Change) -> None:
        if change.key.resource != crd_schema.STORAGE:
            return
        if change.type == "DELETED":
            self._declared.pop(change.key.name, None)
        else:
            self._declare(change.object)

    def _declare(self, crd: Object) -> None:
        self._declared[crd["metadata"]["name"]] = crd_schema.resources(crd)
