"""Numbers and where they come from: metrics, intervals, the gap between stages, and the record of a run."""

from chiploop.measure.accuracy import UNDECIDED, Decisions, accuracy, accuracy_metrics, decide
from chiploop.measure.figure import Figure
from chiploop.measure.metric import METRICS, Metric, MetricKind
from chiploop.measure.record import RunRecord, StageRecord, new_record, read_record, read_records, write_record

__all__ = [
    "METRICS", "UNDECIDED", "Decisions", "Figure", "Metric", "MetricKind", "RunRecord", "StageRecord", "accuracy",
    "accuracy_metrics", "decide", "new_record", "read_record", "read_records", "write_record",
]
