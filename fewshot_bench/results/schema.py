"""The JSON Schema of `record.json`, made of the models. `python -m fewshot_bench.results.schema` writes it into the package.

It states shape, types and bounds. What compares several fields (ids, intervals, scores) is checked when a record is read.
"""

from pathlib import Path
from typing import Any

from fewshot_bench.results.record_models import SCHEMA, RecordContent
from fewshot_bench.storage import json_text

PATH = Path(__file__).with_name("record.schema.json")
DIALECT = "https://json-schema.org/draft/2020-12/schema"


def record_schema() -> dict[str, Any]:
    """The schema of the present format."""
    made = RecordContent.model_json_schema()
    title = f"record.json of fewshot-bench, schema {SCHEMA}"
    return {"$schema": DIALECT, **made, "title": title}


def main() -> None:
    """Write the file."""
    PATH.write_text(json_text(record_schema()), encoding="utf-8")


if __name__ == "__main__":
    main()
