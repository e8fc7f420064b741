"""Servers that several tests ask, one of each kind for a session; a test that harms its server starts its own."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import tokenizers

from tests.support import models
from tests.support.asking import Asker
from tests.support.server import Server

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


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Starts servers of the test's own, and ends them after it."""
    servers: list[Server] = []

    def start(repository: Path | None = None, **settings: Any) -> Server:
        if repository is None:
            repository = tmp_path / "models"
            repository.mkdir()
        server = Server(repository, tmp_path / f"log-{len(servers)}", **settings)
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
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server over one model of every kind, with messages of at most 1 MiB. Not to be harmed."""
    root = tmp_path_factory.mktemp("served")
    repository = root / "models"
    repository.mkdir()
    _fill(repository)
    running = Server(repository, root / "log", max_message_bytes=1 << 20).wait_ready()
    yield running
    running.stop()


@pytest.fixture(scope="session")
def ask(server: Server) -> Iterator[Asker]:
    """A channel to the shared server."""
    with Asker(server.address) as asker:
        yield asker
