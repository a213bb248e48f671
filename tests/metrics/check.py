"""Judges scrapes of /metrics with Prometheus' own parser: check.py SCRAPE [LATER SCRAPE].

Prints what is wrong, a line each; exit code 1 if anything is.
"""

import re
import sys

from prometheus_client.parser import text_string_to_metric_families

NAME = re.compile(r"[a-z][a-z0-9_]*")
UNITS = ("_seconds", "_bytes", "_ratio", "_items")
# Units that are not base units, and words that say what the type says already.
BAD_PARTS = {"ms", "us", "milliseconds", "microseconds", "percent", "counter", "gauge", "histogram"}
wrong = []


def say(text):
    wrong.append(text)


def lines(text):
    """Order and shape, which the parser is lenient about."""
    seen, helped, typed = set(), None, None
    for number, line in enumerate(text.split("\n"), 1):
        if not line:
            continue
        where = f"line {number}"
        if line.startswith("# HELP "):
            helped = line.split(" ", 3)[2]
            if helped in seen:
                say(f"{where}: {helped} is there twice")
            seen.add(helped)
            if len(line.split(" ", 3)) < 4 or not line.rstrip().endswith("."):
                say(f"{where}: the help of {helped} is no sentence")
        elif line.startswith("# TYPE "):
            typed = line.split(" ")[2]
            if typed != helped:
                say(f"{where}: TYPE of {typed} does not follow its HELP")
        elif line.startswith("#"):
            say(f"{where}: neither HELP nor TYPE")
        else:
            name = re.match(r"[a-zA-Z0-9_:]+", line).group()
            if typed is None or not re.fullmatch(re.escape(typed) + "(_bucket|_sum|_count)?", name):
                say(f"{where}: {name} stands among samples of {typed}")
    if not text.endswith("\n"):
        say("the last line has no end")


def names(family, raw):
    if not NAME.fullmatch(raw):
        say(f"{raw}: not a usual name")
    if not raw.startswith(("kms_", "process_")):
        say(f"{raw}: neither ours nor every process's")
    if (family.type == "counter") != raw.endswith("_total"):
        say(f"{raw}: a counter ends in _total, and nothing else does")
    if BAD_PARTS & set(raw.split("_")):
        say(f"{raw}: not in a base unit, or says its type")
    if family.type == "histogram" and not raw.endswith(UNITS):
        say(f"{raw}: a histogram without a unit")


def histograms(family):
    each = {}
    for sample in family.samples:
        labels = tuple(sorted((k, v) for k, v in sample.labels.items() if k != "le"))
        part = sample.name[len(family.name) :]
        each.setdefault(labels, {}).setdefault(part, []).append((sample.labels.get("le"), sample.value))
    for labels, parts in each.items():
        where = f"{family.name}{dict(labels)}"
        buckets = parts.get("_bucket", [])
        if not buckets or buckets[-1][0] != "+Inf":
            say(f"{where}: the last bucket is not +Inf")
            continue
        bounds = [float(le) for le, _ in buckets]
        counts = [count for _, count in buckets]
        if bounds != sorted(set(bounds)):
            say(f"{where}: bounds do not ascend")
        if counts != sorted(counts):
            say(f"{where}: not cumulative: {counts}")
        if [count for _, count in parts.get("_count", [])] != counts[-1:]:
            say(f"{where}: _count is not that of the last bucket")
        if len(parts.get("_sum", [])) != 1:
            say(f"{where}: no _sum")


def values(families):
    """Every sample by name and labels."""
    all_of_them = {}
    for family in families:
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            if key in all_of_them:
                say(f"{key}: twice")
            grows = family.type == "counter" or sample.name.endswith(("_bucket", "_count", "_sum"))
            all_of_them[key] = (sample.value, grows)
    return all_of_them


def read(path):
    with open(path, encoding="utf-8") as file:
        text = file.read()
    lines(text)
    # A counter's family bears its name without _total in the parser.
    raw = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.M))
    families = list(text_string_to_metric_families(text))
    for family in families:
        name = family.name if family.name in raw else family.name + "_total"
        if raw.get(name) != family.type:
            say(f"{name}: {raw.get(name)} is said, {family.type} is read")
        if not family.samples:
            say(f"{name}: without a sample")
        names(family, name)
        if family.type == "histogram":
            histograms(family)
    return values(families)


first = read(sys.argv[1])
for later in sys.argv[2:]:
    second = read(later)
    for key, (value, grows) in first.items():
        if key not in second:
            say(f"{key}: gone")
        elif grows and second[key][0] < value:
            say(f"{key}: fell from {value} to {second[key][0]}")
for line in wrong:
    print(line)
sys.exit(1 if wrong else 0)
