# SPDX-License-Identifier: GPL-2.0
"""What the measurements share: where results go, a run in a virtual machine, plots."""

import importlib.util
import json
import os
import pathlib
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

ROOT = pathlib.Path(__file__).resolve().parents[2]
OUT = ROOT / "build/bench"
LABELS = {"none": "no tracker", "stock": "C tracker", "rust_ct": "rust_ct"}
TRACKERS = ("stock", "rust_ct")


def prefer_plotter():
    """Goes on as the Python that can plot: the distribution's has the distribution's packages."""
    python = "/usr/bin/python3"
    if (importlib.util.find_spec("matplotlib") or os.environ.get("RUST_CT_NO_PLOTTER") or not os.access(python, os.X_OK)
            or subprocess.run([python, "-c", "import matplotlib"], stderr=subprocess.DEVNULL).returncode):
        return
    # Whatever happens, once is enough.
    os.environ["RUST_CT_NO_PLOTTER"] = "1"
    os.execv(python, [python, *sys.argv])


def say(*words):
    print(*words, file=sys.stderr, flush=True)


def run_vm(tracker, options, command):
    """What a command says in a machine with that tracker. Ends the program if it fails."""
    say(f"{LABELS[tracker]} …")
    arguments = [ROOT / "scripts/vm", "--kernel", "fast", "--tracker", tracker, *map(str, options), "--", *map(str, command)]
    result = subprocess.run(arguments, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    if result.returncode:
        sys.exit(f"{result.stdout}\n{LABELS[tracker]}: scripts/vm ended with {result.returncode}")
    return result.stdout


def run_vms(trackers, run):
    """The same with each tracker, as many at a time as there are processors: instructions are the
    same however busy the machine is."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return dict(zip(trackers, pool.map(run, trackers)))


def build_generator(kernel="fast"):
    """The packet generator's module; the others are in the same folder."""
    path = subprocess.run([ROOT / "selftests/bench/build-generator", kernel], stdout=subprocess.PIPE, text=True, check=True).stdout
    return pathlib.Path(path.strip())


def demangle(names):
    tool = next(filter(None, map(shutil.which, ("llvm-cxxfilt-22", "c++filt"))), None)
    if not tool:
        return dict(zip(names, names))
    result = subprocess.run([tool], input="\n".join(names), stdout=subprocess.PIPE, text=True)
    return dict(zip(names, result.stdout.splitlines()))


def write(name, text, data):
    """Prints a table, and keeps it and its numbers for the report."""
    print(text, end="")
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / f"{name}.txt").write_text(text)
    (OUT / f"{name}.json").write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n")


def pyplot():
    """The plotting library, or None."""
    try:
        import matplotlib
    except ImportError:
        say("no plot: python3-matplotlib is not installed ('scripts/setup bench' does it)")
        return None
    matplotlib.use("svg")
    # The same numbers, the same file.
    matplotlib.rcParams["svg.hashsalt"] = "rust_ct"
    from matplotlib import pyplot
    return pyplot


def save(figure, name):
    figure.tight_layout()
    OUT.mkdir(parents=True, exist_ok=True)
    figure.savefig(OUT / f"{name}.svg", metadata={"Date": None})


def plot_pairs(name, names, values, label, scale="linear"):
    """Bars, one below the other, with both trackers' beside each other. VALUES: tracker -> [number]."""
    library = pyplot()
    if not library:
        return
    figure, axes = library.subplots(figsize=(8, 1.2 + 0.4 * len(names)))
    for number, tracker in enumerate(values):
        axes.barh([i + 0.4 * number for i in range(len(names))], values[tracker], 0.4, label=LABELS[tracker])
    axes.set_yticks([i + 0.2 for i in range(len(names))], names)
    axes.invert_yaxis()
    axes.set(xlabel=label, xscale=scale)
    axes.legend()
    axes.grid(alpha=0.3, axis="x")
    save(figure, name)


prefer_plotter()
