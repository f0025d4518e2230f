"""An API server and operators, as the tests of the operator's process have them."""

from tests.plane.conftest import site

__all__ = ["site"]
