# SPDX-License-Identifier: GPL-2.0
"""Reads a file in Prometheus' text format, as the reference parser does.

    python3 prometheus.py FILE

Fails if the parser refuses it, or if it breaks a rule that the parser does not look at: a metric
has one introduction and stands in one piece; no two values have the same labels; the name of a
counter, and of nothing else, ends in _total; no value is negative.
"""

import argparse
import sys

from prometheus_client.parser import text_string_to_metric_families


def faults(text):
    if not text.endswith("\n"):
        yield "the last line has no end"
    seen = set()
    for family in text_string_to_metric_families(text):
        name = family.name
        if name in seen:
            yield f"{name} stands in two places"
        seen.add(name)
        if not family.documentation:
            yield f"{name} has no HELP"
        if family.type not in ("counter", "gauge"):
            yield f"{name} is of type {family.type}"
        labels = set()
        for sample in family.samples:
            if sample.name.endswith("_total") != (family.type == "counter"):
                yield f"{sample.name} is a {family.type}"
            key = tuple(sorted(sample.labels.items()))
            if key in labels:
                yield f"{sample.name}{dict(key)} is there twice"
            labels.add(key)
            if sample.value < 0:
                yield f"{sample.name}{dict(key)} is {sample.value}"
    if not seen:
        yield "there is nothing in it"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("file")
    with open(parser.parse_args().file, encoding="ascii") as file:
        text = file.read()
    found = list(faults(text))
    for fault in found:
        print(fault)
    return 1 if found else 0


sys.exit(main())
