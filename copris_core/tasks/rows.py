"""Turns rows into verl's schema and writes them as parquet.

This file refuses to know any task.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from copris_core.tasks.task import Row


def verl_row(row: Row) -> dict[str, Any]:
    """One row as verl's dataset reads it; ``Row.facts`` go into ``extra_info``."""
    return {
        "data_source": row.data_source,
        "prompt": [{"role": each.role, "content": each.content} for each in row.prompt],
        "ability": row.ability,
        "reward_model": {"style": "rule", "ground_truth": row.ground_truth},
        "extra_info": {"split": row.split, "index": row.index, **row.facts},
    }


def write_parquet(rows: Sequence[Row], path: Path) -> Path:
    """Write rows as one parquet file, making its folder; a reader never sees half a file.

    Raises:
        ValueError: there are no rows, or pyarrow is not installed.
    """
    if not rows:
        raise ValueError(f"no rows to write to {path}: ask the task for 1 row or more")
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ModuleNotFoundError as error:
        raise ValueError("pyarrow is missing: pip install 'copris[cpu]'") from error
    path.parent.mkdir(parents=True, exist_ok=True)
    half_written = path.with_name(path.name + ".part")
    pq.write_table(pa.Table.from_pylist([verl_row(row) for row in rows]), half_written)
    return half_written.replace(path)
