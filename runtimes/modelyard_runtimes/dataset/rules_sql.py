"""SQL expressions over the columns of a table, in DuckDB without access to anything else."""

from __future__ import annotations

import threading

import numpy as np
import numpy.typing as npt
import pyarrow as pa  # type: ignore[import-untyped]

LIMIT_SECONDS = 120


def rows_breaking(expression: str, table: pa.Table) -> npt.NDArray[np.bool_]:
    """Return the rows for which an expression is not true.

    Args:
        expression: A SQL expression over the columns of `rows`.
        table: The rows.

    Raises:
        ValueError: the expression is wrong, or takes longer than LIMIT_SECONDS.
    """
    # Only datasets with SQL expectations need the database.
    import duckdb  # noqa: PLC0415

    connection = duckdb.connect(":memory:")
    timer = threading.Timer(LIMIT_SECONDS, connection.interrupt)
    try:
        connection.register("rows", table)
        connection.execute("SET enable_external_access = false")
        connection.execute("SET threads = 1")
        connection.execute("SET lock_configuration = true")
        timer.start()
        query = f"SELECT coalesce(CAST(({expression}\n) AS BOOLEAN), false) AS good FROM rows"  # noqa: S608
        statements = connection.extract_statements(query)
        if len(statements) != 1:
            raise ValueError("the expression is more than one SQL expression")
        good = connection.execute(statements[0]).fetchnumpy()["good"]
    except duckdb.InterruptException as error:
        raise ValueError(f"the expression takes longer than {LIMIT_SECONDS} s") from error
    except duckdb.Error as error:
        # Messages of the binder and the parser quote the expression; others may quote values.
        quotes = isinstance(error, duckdb.BinderException | duckdb.ParserException)
        told = str(error).splitlines()[0] if quotes else type(error).__name__
        raise ValueError(f"the SQL expression cannot be evaluated: {told}") from error
    finally:
        timer.cancel()
        connection.close()
    broken: npt.NDArray[np.bool_] = ~np.asarray(good, dtype=np.bool_)
    if len(broken) != table.num_rows:
        raise ValueError("the expression changes the number of rows; write one about a single row")
    return broken
