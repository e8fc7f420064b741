"""Servers that several tests ask, one of each kind for a session; a test that harms its server starts its own.

What a front does itself is tested over both of them; whatever differs is a fault, or stands in docs/front.md:

| over http2 and grpcio | what the front does in it |
|---|---|
| test_requests, test_tensors | requests and their statuses, trailing metadata, messages of every size |
| test_malformed_bodies | bodies that are no messages, limits of size, compression |
| test_streams, test_stream_shares | order, half-close, cancellation and bounds of streams |
| test_control_calls | unary and streamed calls of the handlers, unknown methods |
| test_triton_client | the client that the field uses |
| test_waiting_requests, test_accounting | cancellation, deadlines, callers who go away, and that each is counted once |
| test_process_life, in part | drain, death of the worker, bytes that are no gRPC |

test_streams, test_control_calls and test_malformed_bodies run over http2 with TLS as well; what else is said of TLS
stands in test_tls_traffic, test_listening and test_certificates.

Everything else is the engine's, the rollout's or the pipelines', which see no front: over http2 alone, the default.
"""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import tokenizers

from tests.support import models
from tests.support.asking import Asker
from tests.support.certificates import Authority
from tests.support.server import Server

BOTH = ("http2", "grpcio")

TLS = "http2 with TLS"
OVER_TLS = ("test_streams", "test_control_calls", "test_malformed_bodies")

# The modules of the table above; where only some tests of a module are meant, these.
OVER_BOTH: dict[str, tuple[str, ...]] = {
    "test_requests": (),
    "test_tensors": (),
    "test_malformed_bodies": (),
    "test_streams": (),
    "test_stream_shares": (),
    "test_control_calls": (),
    "test_triton_client": (),
    "test_waiting_requests": (),
    "test_accounting": (),
    "test_listening": (
        "test_commands_find_a_server_that_has_a_unix_socket_alone",
        "test_one_port_in_use_of_several",
        "test_the_socket_of_a_dead_server_is_replaced_and_that_of_a_live_one_is_not",
        "test_files_that_cannot_be_used",
    ),
    "test_process_life": (
        "test_a_port_in_use",
        "test_the_ports_of_another_server",
        "test_an_address_that_this_machine_does_not_have",
        "test_after_a_stop_the_data_directory_and_the_ports_are_free",
        "test_the_worker_is_killed_and_comes_back",
        "test_while_the_worker_comes_back_nothing_is_not_found",
        "test_at_a_stop_what_is_under_way_is_answered_and_what_comes_is_refused",
        "test_a_second_signal_does_not_wait",
        "test_a_stop_ends_after_the_drain_timeout",
        "test_many_models",
        "test_bytes_on_a_port_that_are_not_its_protocol",
        "test_no_reflection_where_it_is_switched_off",
    ),
}

TABLE = """
[[input]]
name = "rows"

[[input.steps]]
step = "table"
rows = "ROWS"

[[input.steps.column]]
name = "delay"
kind = "number"

[[input.steps.column]]
name = "carrier"
kind = "text"

[[input.steps.tensor]]
name = "x"

[[input.steps.tensor.feature]]
column = "delay"
steps = [{ step = "impute", value = 3.0 }, { step = "scale", mean = 1.0, std = 2.0 }]

[[input.steps.tensor.feature]]
column = "carrier"
steps = [{ step = "onehot", categories = ["AA", "UA", "DL"], unknown = "refuse" }]
"""


CONTRACT = """
on_breach = "ACTION"

[[input]]
name = "rows"

[[input.steps]]
step = "table"
rows = "json"

[[input.steps.column]]
name = "age"
kind = "integer"
contract = { min = 0, max = 120, missing = "refuse" }

[[input.steps.column]]
name = "country"
kind = "text"
contract = { pattern = "[A-Z]{2}", allowed = ["AT", "BE", "XX"], unknown = "impute", value = "XX" }

[[input.steps.tensor]]
name = "x"

[[input.steps.tensor.feature]]
column = "age"

[[input.steps.tensor.feature]]
column = "country"
steps = [{ step = "vocabulary", categories = ["AT", "BE", "XX"] }]
"""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Has each test that starts or asks a server run over the fronts that its module stands for."""
    if "front" in metafunc.fixturenames:
        module = metafunc.module.__name__.rpartition(".")[2]
        some = OVER_BOTH.get(module)
        over_both = some is not None and (not some or metafunc.function.__name__ in some)
        fronts = BOTH if over_both else BOTH[:1]
        # Servers of a test's own are plain.
        if module in OVER_TLS and "start" not in metafunc.fixturenames:
            fronts = (*fronts, TLS)
        metafunc.parametrize("front", fronts, scope="session")


@pytest.fixture
def start(front: str, tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Starts servers of the test's own, and ends them after it."""
    servers: list[Server] = []

    def start(repository: Path | None = None, **settings: Any) -> Server:
        if repository is None:
            repository = tmp_path / "models"
            repository.mkdir()
        server = Server(repository, tmp_path / f"log-{len(servers)}", **{"front": front, **settings})
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.stop()


def _fill(repository: Path) -> None:
    for datatype in models.ELEMENT:
        models.put(repository, f"same_{datatype.lower()}", models.identity(datatype))
    models.put(repository, "scalar", models.identity("FP32", ()))
    models.put(repository, "fixed", models.identity("FP32", (2, 3)))
    models.put(repository, "fixed_strings", models.identity("BYTES", (3,)))
    models.put(repository, "open", models.identity("FP32", ("batch", "height", "width")))
    models.put(repository, "double", models.scaled())
    models.put(repository, "widened", models.widened())
    models.put(
        repository,
        "files",
        models.identity("INT32", ("batch", 8)),
        about="model_tensors = true\n"
        '[[input]]\nname = "file"\n'
        'steps = [{ step = "windows", begin = 4, end = 4, block = 16, pad = 256, minimum = 2 }]\n',
    )
    models.put(
        repository,
        "pictures",
        models.pictures(),
        about='[[input]]\nname = "image"\nsteps = [{ step = "image", max_pixels = 1000000 }]\n',
    )
    models.put(
        repository,
        "bright",
        models.bright_box(),
        about='model_tensors = true\n[[input]]\nname = "image"\n'
        'steps = [{ step = "image", fit = "letterbox", scale = 0.00392156862745098 }]\n'
        '[[output]]\nname = "boxes"\nsteps = [{ step = "boxes" }]\n',
    )
    for rows in ("json", "arrow", "columns"):
        models.put(
            repository,
            f"table_{rows}",
            models.identity("FP32", ("batch", 4)),
            about=TABLE.replace("ROWS", rows),
        )
    for action in ("refuse", "mark", "flag"):
        models.put(
            repository,
            f"people_{action}",
            models.identity("FP32", ("batch", 2)),
            about=CONTRACT.replace("ACTION", action),
        )
    models.put(
        repository,
        "embed_marked",
        models.embedding(),
        about='[[input]]\nname = "ids"\ncontract = { min = 0, max = 15, on_breach = "mark" }\n',
    )
    for name, formats in (("marked_images", '["jpeg", "png", "webp"]'), ("marked_jpegs", '["jpeg"]')):
        models.put(
            repository,
            name,
            models.pictures(),
            about='on_breach = "mark"\n[[input]]\nname = "image"\n'
            f'steps = [{{ step = "image", formats = {formats} }}]\n',
        )
    directory = models.put(
        repository,
        "marked_texts",
        models.token_sums(),
        about='on_breach = "mark"\n[[input]]\nname = "text"\n'
        'steps = [{ step = "tokenize", max_length = 16, pad_id = 0 }]\n',
    )
    words = tokenizers.Tokenizer(tokenizers.models.WordLevel({"[UNK]": 1, "one": 10}, unk_token="[UNK]"))
    words.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    words.save(str(directory / "tokenizer.json"))
    models.put(
        repository,
        "marked_arrow",
        models.identity("FP32", ("batch", 4)),
        about='on_breach = "mark"\n' + TABLE.replace("ROWS", "arrow"),
    )
    models.put(
        repository,
        "optional_small",
        models.identity("UINT8", ("batch", 1)),
        about='[[input]]\nname = "x"\ncontract = { max = 0, on_breach = "mark" }\n',
    )
    models.put(
        repository,
        "columns_or_own",
        models.two_columns(),
        about='model_tensors = true\n[[input]]\nname = "rows"\n[[input.steps]]\nstep = "table"\n'
        '[[input.steps.column]]\nname = "a"\nkind = "number"\nrequired = false\n'
        '[[input.steps.column]]\nname = "d"\nkind = "number"\n'
        '[[input.steps.tensor]]\nname = "a"\n[[input.steps.tensor.feature]]\ncolumn = "a"\n'
        '[[input.steps.tensor]]\nname = "b"\n[[input.steps.tensor.feature]]\ncolumn = "d"\n',
    )
    models.put(
        repository,
        "marked_words",
        models.identity("BYTES", ("batch",)),
        about='[[input]]\nname = "x"\ncontract = { max_bytes = 3, on_breach = "mark" }\n',
    )
    models.put(
        repository,
        "own_or_files",
        models.two_inputs(),
        about='model_tensors = true\n[[input]]\nname = "a"\ndatatype = "FP32"\nshape = [-1, 3]\n'
        'steps = [{ step = "frames", samples = 3 }]\n'
        '[[input]]\nname = "b"\nrequired = false\ncontract = { max = 9, missing = "impute", value = 2.0 }\n',
    )
    models.put(
        repository,
        "optional_factor",
        models.two_inputs(),
        about='[[input]]\nname = "b"\nrequired = false\ncontract = { missing = "impute", value = 2.0 }\n',
    )
    models.put(
        repository,
        "kinds",
        models.identity("FP32", ("batch", 3)),
        about='[[output]]\nname = "kind"\nsource = "y"\nlabels = ["cat", "dog", "eel"]\n'
        'steps = [{ step = "softmax" }, { step = "top_k", k = 2, labels = "kind", scores = "score" }]\n',
    )
    models.put(
        repository,
        "lines",
        models.identity(dims=("batch", "times", 3)),
        about='[[output]]\nname = "text"\nsource = "y"\nlabels = ["", "a", "é"]\n'
        'steps = [{ step = "ctc", score = "sure" }]\n\n'
        '[[output]]\nname = "blank"\nsource = "y"\nsteps = [{ step = "select", index = 0 }]\n',
    )
    models.put(
        repository,
        "wrong_step",
        models.pictures(),
        about='[[input]]\nname = "image"\nsteps = [{ step = "image", widht = 8 }]\n',
    )
    models.put(repository, "pair", models.two_inputs())
    models.put(repository, "embed", models.embedding())
    models.put(repository, "slow", models.slow_embedding(), manifest="[serving]\ninstances = 1\n")
    # A batch waits for its 32 rows, so that a test need not be fast to have one.
    models.put(
        repository,
        "gathered",
        models.embedding(),
        manifest="[serving]\nbatching = true\nmax_batch = 32\npreferred_batch_sizes = [32]\n"
        "max_queue_delay_us = 10000000\n",
    )
    models.put(
        repository,
        "stall",
        models.stall(),
        manifest="[serving]\ninstances = 1\nmax_queue_requests = 4\n",
    )
    models.put(repository, "centred", models.centred())
    models.put(repository, "dynamic", models.dynamically_quantized())
    models.put(repository, "noisy", models.noisy())
    models.put(repository, "distinct", models.distinct())
    models.put(repository, "total", models.total())
    models.put(repository, "row_sums", models.row_sums())
    models.put(repository, "misdeclared", models.misdeclared())
    models.put(
        repository,
        "labelled",
        models.identity("FP32", ("batch", 3)),
        about='[[output]]\nname = "y"\nlabels = ["cat", "dog", "eel"]\n',
    )
    models.put(
        repository, "versions", models.scaled(1.0), 1, manifest="[serving]\nversions = { all = true }\n"
    )
    models.put(repository, "versions", models.scaled(2.0), 2)
    models.put(repository, "versions", models.scaled(3.0), 10)
    models.put(repository, "empty_file", b"")
    models.put(repository, "cut_off", models.embedding()[:-40])
    models.put(repository, "no_such_operator", models.unknown_operator())
    models.put(repository, "wrong_types", models.mistyped())
    models.put(
        repository,
        "contradiction",
        models.identity(),
        about='[[input]]\nname = "x"\ndatatype = "INT64"\n',
    )
    models.put(repository, "unknown_key", models.identity(), manifest="[serving]\nmax_bacth = 4\n")
    (repository / "no_versions").mkdir()
    (repository / "double" / "02").mkdir()
    (repository / "double" / "latest").mkdir()


@pytest.fixture(scope="session")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Who issues the certificate of the shared server."""
    return Authority(tmp_path_factory.mktemp("issuer"), "issuer")


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory, issuer: Authority) -> Iterator[Callable[[str], Server]]:
    """The shared server of a front, started when it is first asked for and kept to the end of the session. That of
    http2 has a port with TLS as well."""
    servers: dict[str, Server] = {}
    tls = issuer.issue("server").served()

    def served(front: str) -> Server:
        if front not in servers:
            root = tmp_path_factory.mktemp(f"served-{front}")
            repository = root / "models"
            repository.mkdir()
            _fill(repository)
            settings = {"max_message_bytes": 1 << 20, "front": front, **(tls if front == "http2" else {})}
            server = Server(repository, root / "log", **settings)
            servers[front] = server.wait_ready()
        return servers[front]

    yield served
    for server in servers.values():
        server.stop()


@pytest.fixture(scope="session")
def server(front: str, served: Callable[[str], Server]) -> Server:
    """A server over one model of every kind, with messages of at most 1 MiB. Not to be harmed."""
    return served("http2" if front == TLS else front)


@pytest.fixture(scope="session")
def connect(front: str, server: Server, issuer: Authority) -> Callable[[], Asker]:
    """Makes channels to the shared server."""
    if front == TLS:
        return partial(Asker, server.running.grpc_tls_addresses[0], issuer.file)
    return partial(Asker, server.address)


@pytest.fixture(scope="session")
def ask(connect: Callable[[], Asker]) -> Iterator[Asker]:
    """A channel to the shared server."""
    with connect() as asker:
        yield asker
