"""Prints what a log of histograms holds, as HdrHistogram's port to Python reads it.

A JSON object: by tag, or by second of wall clock where there is none: the count, the longest, the
values at 50, 90, 99, 99.9 and 99.99 %, and each recorded value with its count.
"""
import json
import sys

from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader

found = {}
into = HdrHistogram(1000, 60 * 1000 * 1000 * 1000, 3)
reader = HistogramLogReader(sys.argv[1], into)
while True:
    one = reader.get_next_interval_histogram()
    if one is None:
        break
    # A start is in milliseconds.
    name = one.get_tag() or str(round(one.get_start_time_stamp() / 1000))
    found[name] = {
        "count": one.get_total_count(),
        "max": one.get_max_value(),
        "percentiles": [one.get_value_at_percentile(p) for p in (50, 90, 99, 99.9, 99.99)],
        "recorded": [
            [item.value_iterated_to, item.count_added_in_this_iter_step]
            for item in one.get_recorded_iterator()
        ],
    }
print(json.dumps(found))
