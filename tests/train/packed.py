"""What holds for every packed model that answers single rows by itself."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from modelyard_runtimes.model import Model, Packed
from modelyard_runtimes.model.explain import contributions
from modelyard_runtimes.model.single import SingleRow


def check_packed(packed: Packed, rows: pa.Table) -> None:
    """Check that single rows get what many do, and that what is explained adds up to it."""
    model, single = Model(*packed), SingleRow(packed)
    assert SingleRow.is_known(packed.document)
    together = model.predict(rows)
    columns = [rows.column(name).to_pylist() for name in model.schema.names]
    alone = [single.predict(list(row)) for row in zip(*columns, strict=True)]
    np.testing.assert_allclose(alone, together, rtol=1e-12)
    base, values = contributions(model, model.schema.validate(rows))
    np.testing.assert_allclose(base + values.sum(axis=2)[:, 0], together[:, 1], atol=1e-9)
