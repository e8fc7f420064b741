"""Two servers side by side: one in production, one with the candidate, compared over a load that is bounded."""

import argparse
import json
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from steelyard import Client
from steelyard.demo.server import ServerProcess, signals_held_back
from steelyard.errors import SteelyardError
from steelyard.models.spec import ModelSpec, TensorSpec
from steelyard.runtime.samples import candidates
from steelyard.supervisor.datadir import RunningServer

MODEL = "compared"
REASON = "side by side"
PLACES = ("production", "candidate")

POLL_S = 0.5
# Loading has its own bound; a calibration gets a minute of the load.
COMMAND_TIMEOUT_S = 150.0
CALIBRATED = 200
# What a server is asked before it is known which made-up input it takes.
CHOICES = 64

Arrays = Mapping[str, np.ndarray[Any, Any]]


def write_examples(directory: Path) -> list[Path]:
    """Two classifiers of eight classes as ONNX files: one, and the same one with weights rounded to half precision."""
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(1)
    weights = {
        "w1": rng.standard_normal((16, 64), np.float32) / 4,
        "w2": rng.standard_normal((64, 8), np.float32) / 4,
    }
    nodes = [
        helper.make_node("MatMul", ["features", "w1"], ["hidden"]),
        helper.make_node("Relu", ["hidden"], ["active"]),
        helper.make_node("MatMul", ["active", "w2"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["probabilities"]),
    ]
    inputs = [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", 16])]
    outputs = [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", 8])]
    files = []
    for place, precision in zip(PLACES, (np.float32, np.float16), strict=True):
        rounded = [
            numpy_helper.from_array(w.astype(precision).astype(np.float32), name)
            for name, w in weights.items()
        ]
        graph = helper.make_graph(nodes, "classifier", inputs, outputs, rounded)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        files.append(directory / f"{place}.onnx")
        files[-1].write_bytes(model.SerializeToString())
    return files


class Questions:
    """Made-up inputs of a model, a choice that it answers, and new values for every number."""

    def __init__(self, client: Client) -> None:
        """Asks until one is answered. Raises what the server says of the last one where none is."""
        metadata = client.metadata(MODEL)
        tensors = tuple(
            TensorSpec(tensor.name, tensor.datatype, tensor.shape or ()) for tensor in metadata.inputs
        )
        rows = all(tensor.dims and tensor.dims[0] < 0 for tensor in tensors)
        self._spec = ModelSpec(tensors, (), rows)
        self._choice = 0
        for choice, inputs in enumerate(islice(candidates(self._spec, 1), CHOICES)):
            try:
                client.infer(MODEL, inputs)
            except SteelyardError as error:
                refused = error
                continue
            self._choice = choice
            return
        raise refused

    def __call__(self, number: int) -> Arrays:
        return next(islice(candidates(self._spec, 1, number), self._choice, None))


class Load:
    """So many callers of one server, each with one request under way, until `stop` or after `most` requests.

    They ask `rate` times a second in all, where the server is fast enough for that: on one machine with both servers,
    callers that never rest would leave the shadow's process no processor.
    """

    def __init__(self, address: str, questions: Questions, callers: int, most: int, rate: int) -> None:
        self.answered = 0
        self.failed: list[str] = []
        self._address = address
        self._questions = questions
        self._rate = rate
        self._began_s = time.monotonic()
        self._stopping = threading.Event()
        self._numbers = iter(range(most))
        self._books = threading.Lock()
        self._threads = [threading.Thread(target=self._call) for _ in range(callers)]
        for thread in self._threads:
            thread.start()

    @property
    def is_over(self) -> bool:
        return not any(thread.is_alive() for thread in self._threads)

    def stop(self) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def _call(self) -> None:
        with Client(self._address, timeout_s=30.0) as client:
            while not self._stopping.is_set():
                with self._books:
                    number = next(self._numbers, None)
                if number is None:
                    return
                self._stopping.wait(self._began_s + number / self._rate - time.monotonic())
                try:
                    client.infer(MODEL, self._questions(number))
                except SteelyardError as error:
                    with self._books:
                        self.failed.append(str(error))
                else:
                    with self._books:
                        self.answered += 1


class Commands:
    """`steelyard` with the data directory of the server in production."""

    def __init__(self, data: Path) -> None:
        self._data = data

    def show(self, *arguments: str) -> int:
        """Runs a command in sight; gives its exit code."""
        print(f"\n$ steelyard {shlex.join(arguments)}", flush=True)
        return self._run(arguments).returncode

    def read(self, *arguments: str) -> Any:
        """What a command says as JSON."""
        return json.loads(self._run([*arguments, "--json"], stdout=subprocess.PIPE).stdout)

    def _run(self, arguments: Sequence[str], **how: Any) -> subprocess.CompletedProcess[bytes]:
        command = [sys.executable, "-m", "steelyard.cli.main", *arguments, "--data", str(self._data)]
        return subprocess.run(command, timeout=COMMAND_TIMEOUT_S, **how)


def repositories(directory: Path, files: Sequence[Path], manifest: Path | None) -> Iterator[Path]:
    """A repository for each of the two files; the manifest, which has the rules, is of the one in production."""
    for place, file in zip(PLACES, files, strict=True):
        version = directory / place / "models" / MODEL / "1"
        version.mkdir(parents=True)
        shutil.copyfile(file, version / "model.onnx")
        if manifest is not None and place == PLACES[0]:
            shutil.copyfile(manifest, version.parent / "model.toml")
        yield directory / place / "models"


def compare(commands: Commands, candidate: RunningServer, load: Load, seconds: int) -> int:
    """Calibrates, starts, waits for the verdict or the end of the load, and shows it; gives the exit code."""
    calibrate = ("shadow", "calibrate", MODEL, "--requests", str(CALIBRATED), "--reason", REASON)
    start = ("shadow", "start", MODEL, "--candidate", candidate.grpc_address, "--reason", REASON)
    for command in (calibrate, start):
        code = commands.show(*command)
        if code:
            return code
    deadline_s = time.monotonic() + seconds
    running = True
    while running and not load.is_over and time.monotonic() < deadline_s:
        time.sleep(POLL_S)
        shadows = commands.read("shadow", "status", MODEL)["shadows"]
        running = any(shadow["verdict"] == "undecided" for shadow in shadows)
    load.stop()
    return commands.show("shadow", "status", MODEL)


def run(arguments: argparse.Namespace) -> int:
    """Sets up, compares, and ends what it has started."""
    directory: Path = arguments.directory
    directory.mkdir(parents=True)
    files, manifest = arguments.files, arguments.manifest
    if not files:
        files, manifest = write_examples(directory), manifest or Path(__file__).parent / "model.toml"
    servers: list[ServerProcess] = []
    load: Load | None = None
    kept = False
    try:
        for repository in repositories(directory, files, manifest):
            place = repository.parent
            with signals_held_back():
                servers.append(ServerProcess(repository, place / "data", place / "server.log"))
        production, candidate = (server.wait_ready() for server in servers)
        for name, server in zip(PLACES, (production, candidate), strict=True):
            print(f"{name}: {server.grpc_address}, process {server.pid}")
        with Client(production.grpc_address, timeout_s=30.0) as client:
            questions = Questions(client)
        load = Load(production.grpc_address, questions, arguments.callers, arguments.requests, arguments.rate)
        code = compare(Commands(directory / PLACES[0] / "data"), candidate, load, arguments.seconds)
        kept = arguments.keep
    finally:
        if load is not None:
            load.stop()
        for started in [] if kept else servers:
            started.stop()
    print(f"\ncallers of the one in production: {load.answered:,} answered, {len(load.failed):,} failed")
    for message in load.failed[:3]:
        print(f"  {message}")
    if kept:
        print(f"both are still up; to end them: kill {production.pid} {candidate.pid}")
    return 1 if load.failed else code


def positive(text: str) -> int:
    """A whole number above 0."""
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def main() -> int:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", type=Path, help="two ONNX files: in production, candidate")
    parser.add_argument(
        "--manifest", type=Path, help="model.toml of the one in production, for its [rollout]"
    )
    parser.add_argument("--directory", type=Path, default=Path(".side-by-side"), help="made for this run")
    parser.add_argument("--callers", type=positive, default=2, help="each with one request under way")
    parser.add_argument("--requests", type=positive, default=20_000, help="at most")
    parser.add_argument("--rate", type=positive, default=500, help="requests a second of all callers")
    parser.add_argument("--seconds", type=positive, default=30, help="to compare, at most")
    parser.add_argument("--keep", action="store_true", help="leave both servers up")
    arguments = parser.parse_args()
    if len(arguments.files) not in (0, 2):
        parser.error(f"expected two ONNX files or none, came {len(arguments.files)}")
    if arguments.directory.exists():
        parser.error(f"{arguments.directory} is there already: remove it, or name another with --directory")
    # Whoever ends this ends what it has started.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return run(arguments)
    except (SteelyardError, OSError, subprocess.TimeoutExpired) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
