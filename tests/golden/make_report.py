"""Make the golden records and the golden report anew: PYTHONPATH=src:tests python tests/golden/make_report.py.

The records are what version 1 of the schema looked like when it was new. They are read, never rewritten, once a later
schema exists: then only the report is made again.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from chiploop.measure.record import SCHEMA, read_records, write_record
from chiploop.report import render
from record_store import make_record

HERE = Path(__file__).parent
RECORDS = HERE / "records-v1"


def main() -> None:
    if SCHEMA == 1:
        shutil.rmtree(RECORDS, ignore_errors=True)
        for seed in (0, 1):
            record = make_record(seed, methods=("cnn", "cil-bptt"), n_events=30)
            write_record(RECORDS / f"seed-{seed}", record)
    with tempfile.TemporaryDirectory() as folder:
        written = render(read_records(RECORDS), Path(folder))
        shutil.copy(written.markdown, HERE / "report.md")


if __name__ == "__main__":
    main()
